# Temporary files and what else is written.
# %% places
import os, tempfile
print(tempfile.gettempdir(), tempfile.gettempprefix(), tempfile.tempdir, os.path.expanduser("~") == os.environ["HOME"])
with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
    file.write("text"); file.seek(0)
    print(file.read(), os.path.dirname(file.name), oct(os.stat(file.name).st_mode & 0o777), os.path.basename(file.name)[:3])
directory = tempfile.mkdtemp()
print(os.path.dirname(directory), os.listdir(directory), oct(os.stat(directory).st_mode & 0o777))
os.rmdir(directory)
with tempfile.TemporaryDirectory() as directory: open(os.path.join(directory, "x"), "w").close()
print(os.path.exists(directory), tempfile.TemporaryFile().read(), tempfile.SpooledTemporaryFile().read())
# %% a directory that is forgotten
import tempfile
directory = tempfile.TemporaryDirectory()
print("end")
# %% a file that is forgotten
import tempfile
file = tempfile.NamedTemporaryFile()
file.write(b"x")
# %% names differ
import tempfile
names = {next(tempfile._get_candidate_names()) for _ in range(10)}
print(len(names))
# %% files that are returned
import os, pathlib, shutil
pathlib.Path("a/b").mkdir(parents=True)
pathlib.Path("a/b/text.txt").write_text("żółć\n")
pathlib.Path("a/bytes.bin").write_bytes(bytes(range(256)))
shutil.copy("a/bytes.bin", "copy.bin")
os.rename("copy.bin", "renamed.bin")
with open("appended.txt", "a") as file: file.write("one"); file.flush(); os.fsync(file.fileno())
os.truncate("appended.txt", 2)
print(sorted(os.listdir()), sorted(str(path) for path in pathlib.Path().rglob("*")))
# %% modes and umask
import os
print(oct(os.umask(0o022)))
open("x", "w").close(); os.mkdir("d")
print(oct(os.stat("x").st_mode), oct(os.stat("d").st_mode), oct(os.stat("script.py").st_mode & 0o600), os.access("script.py", os.W_OK))
os.remove("x"); os.rmdir("d")
