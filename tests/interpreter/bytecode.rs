//! Bytecode of an environment that has none beside its sources is kept: programs read it, and can neither write nor replace it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::interpreter::Interpreter;
use crate::support::until;

/// Imports `kept`, and prints its value and how many modules Python had to compile for it.
const IMPORT: &str = "
import importlib._bootstrap_external as external
plain, compiled = external.SourceLoader.source_to_code, []
def source_to_code(self, data, path, **options):
    compiled.append(path)
    return plain(self, data, path, **options)
external.SourceLoader.source_to_code = source_to_code
import kept.inner
print(kept.inner.value, len(compiled))
";

/// A virtual environment that every user can read.
struct Environment {
    directory: tempfile::TempDir,
    packages: PathBuf,
}

impl Environment {
    /// With a package `kept` of two modules, without bytecode.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let venv = directory.path().join("venv");
        let made = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
        assert!(made.unwrap().success());
        let packages = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
        let environment = Environment { directory, packages };
        environment.write("kept/__init__.py", "");
        environment.write("kept/inner.py", "value = 'first'");
        environment
    }

    fn write(&self, path: &str, source: &str) {
        let path = self.packages.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }

    fn python(&self) -> PathBuf {
        self.directory.path().join("venv/bin/python")
    }

    fn start(&self) -> Interpreter {
        Interpreter::start_with(&[
            ("PYTHON_INTERPRETER_MCP_PYTHON", self.python().to_str().unwrap()),
            ("PYTHON_INTERPRETER_MCP_PRELOAD", ""),
        ])
    }
}

fn kept_by(interpreter: &Interpreter) -> PathBuf {
    interpreter.home.path().join("state/python-interpreter-mcp/bytecode")
}

/// The bytecode of a module, as soon as it is kept.
fn kept(interpreter: &Interpreter, module: &str) -> PathBuf {
    let mut found = None;
    until("the module is compiled", || {
        found = files(&kept_by(interpreter))
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{module}.cpython-")));
        found.is_some()
    });
    found.unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn written(path: &Path) -> (u64, i64, i64, Vec<u8>) {
    let status = fs::metadata(path).unwrap();
    (status.ino(), status.mtime(), status.mtime_nsec(), fs::read(path).unwrap())
}

#[test]
fn programs_read_it_and_it_is_made_once() {
    let environment = Environment::new();
    let mut interpreter = environment.start();
    interpreter.works();
    let files = ["__init__", "inner"].map(|module| kept(&interpreter, module));
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "first 0\n");
    // The twin: where nothing is kept, Python compiles both modules.
    let elsewhere =
        format!("import _frozen_importlib_external as e\ne.cache_from_source = lambda *a, **k: '/none.pyc'{IMPORT}");
    assert_eq!(interpreter.execute(&elsewhere)["stdout"], "first 2\n");
    // Programs started by a program have it as well, and nothing shows it.
    let child = format!(
        "import subprocess, sys; print(subprocess.run([sys.executable, '-c', {IMPORT:?}], capture_output=True, text=True).stdout, end='')"
    );
    assert_eq!(interpreter.execute(&child)["stdout"], "first 0\n");
    let seen = interpreter.execute("import kept.inner, sys; print(sys.pycache_prefix, kept.inner.__cached__)");
    let beside = environment.packages.join("kept/__pycache__").join(files[1].file_name().unwrap());
    assert_eq!(seen["stdout"], format!("None {}\n", beside.display()));

    let before = files.each_ref().map(|path| written(path));
    environment.write("later.py", "value = 1");
    interpreter.restart();
    interpreter.works();
    kept(&interpreter, "later");
    assert_eq!(files.each_ref().map(|path| written(path)), before);
    assert!(!environment.packages.join("kept/__pycache__").exists());
}

#[test]
fn nothing_is_made_where_bytecode_lies_beside_the_source() {
    let environment = Environment::new();
    let compile =
        Command::new(environment.python()).args(["-m", "compileall", "-q"]).arg(&environment.packages).status();
    assert!(compile.unwrap().success());
    environment.write("later.py", "value = 1");
    let interpreter = environment.start();
    interpreter.works();
    let only = kept(&interpreter, "later");
    assert_eq!(files(&kept_by(&interpreter)), [only]);
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "first 0\n");
}

#[test]
fn a_changed_source_is_never_run_as_it_was() {
    let environment = Environment::new();
    let mut interpreter = environment.start();
    interpreter.works();
    let file = kept(&interpreter, "inner");
    kept(&interpreter, "__init__");
    let before = written(&file);
    environment.write("kept/inner.py", "value = 'changed'");
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "changed 1\n");
    interpreter.restart();
    interpreter.works();
    until("it is compiled again", || written(&file) != before);
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "changed 0\n");
}

#[test]
fn a_source_that_is_wrong_is_reported_to_programs_and_stops_no_other() {
    let environment = Environment::new();
    environment.write("broken.py", "value = = 1");
    let mut interpreter = environment.start();
    interpreter.works();
    let broken = kept(&interpreter, "broken");
    kept(&interpreter, "inner");
    let before = written(&broken);
    let result = interpreter.execute("import broken");
    assert!(result["stderr"].as_str().unwrap().contains("SyntaxError"), "{result}");
    // It is not tried again until it changes.
    environment.write("later.py", "value = 1");
    interpreter.restart();
    interpreter.works();
    kept(&interpreter, "later");
    assert_eq!(written(&broken), before);
    environment.write("broken.py", "value = 1");
    assert_eq!(interpreter.execute("import broken; print(broken.value)")["stdout"], "1\n");
    // Also where the right one is older, as a file is that was packed earlier.
    let earlier = std::time::SystemTime::now() - std::time::Duration::from_secs(60 * 60);
    fs::File::open(environment.packages.join("broken.py")).unwrap().set_modified(earlier).unwrap();
    interpreter.restart();
    interpreter.works();
    until("it is compiled", || written(&broken) != before);
}

#[test]
fn no_program_changes_what_the_next_one_imports() {
    let environment = Environment::new();
    let interpreter = environment.start();
    interpreter.works();
    let kept = ["__init__", "inner"].map(|module| kept(&interpreter, module));
    let before = kept.each_ref().map(|path| written(path));
    // Where a program may write, the same acts succeed: this is how bytecode is poisoned.
    let poison = |prefix: &str| {
        format!(
            "
import importlib.util, os, py_compile, sys
sys.dont_write_bytecode = False
source = {source:?}
size, time = os.stat(source).st_size, int(os.stat(source).st_mtime)
open('poison.py', 'w').write('value = \"poisoned\"')
poison = open(py_compile.compile('poison.py', '/tmp/poison.pyc'), 'rb').read()
poison = poison[:8] + time.to_bytes(4, 'little') + size.to_bytes(4, 'little') + poison[16:]
sys.pycache_prefix = {prefix:?}
place = importlib.util.cache_from_source(source)
done = []
def attempt(name, act):
    try: act()
    except OSError: return
    done.append(name)
attempt('make', lambda: os.makedirs(os.path.dirname(place) + '/new'))
attempt('write', lambda: open(place, 'wb').write(poison))
attempt('truncate', lambda: os.truncate(place, 3))
attempt('replace', lambda: os.replace('/tmp/poison.pyc', place))
attempt('write again', lambda: open(place, 'wb').write(poison))
attempt('link', lambda: os.symlink('/tmp/poison.pyc', place + '.link'))
attempt('mode', lambda: os.chmod(place, 0o777))
attempt('time', lambda: os.utime(place, (1, 1)))
print(done)
import kept.inner
print(kept.inner.value)
attempt('remove', lambda: os.unlink(place))
print(done[-1:])
",
            source = environment.packages.join("kept/inner.py")
        )
    };
    let all = "['make', 'write', 'truncate', 'replace', 'write again', 'link', 'mode', 'time']\npoisoned\n['remove']\n";
    assert_eq!(interpreter.execute(&poison("/tmp/own"))["stdout"], all);
    let refused = interpreter.execute(&poison("/python-interpreter/bytecode"));
    assert_eq!(refused["stdout"], "[]\nfirst\n[]\n", "{refused}");
    // Nor beside the source.
    interpreter.none_succeeds(&format!(
        "import os\ntry: os.mkdir({:?}); print('REACHED')\nexcept OSError: pass",
        environment.packages.join("kept/__pycache__")
    ));
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "first 0\n");
    assert_eq!(kept.each_ref().map(|path| written(path)), before);
    interpreter.is_unscathed();
}

#[test]
fn without_a_place_for_it_programs_run_as_before() {
    let environment = Environment::new();
    let mut interpreter = environment.start();
    interpreter.works();
    kept(&interpreter, "inner");
    interpreter.kill();
    fs::remove_dir_all(kept_by(&interpreter)).unwrap();
    fs::write(kept_by(&interpreter), "").unwrap();
    interpreter.restart();
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "first 2\n");
    assert_eq!(interpreter.log().matches("bytecode is not kept").count(), 1, "{}", interpreter.log());
}

#[test]
fn bytecode_of_an_environment_that_was_long_not_used_is_removed() {
    let environment = Environment::new();
    let mut interpreter = environment.start();
    interpreter.works();
    kept(&interpreter, "inner");
    let [old, recent] = ["old", "recent"].map(|name| kept_by(&interpreter).join(name));
    for (path, days) in [(&old, 31), (&recent, 29)] {
        fs::create_dir(path).unwrap();
        let used = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 24 * 60 * 60);
        fs::File::open(path).unwrap().set_modified(used).unwrap();
    }
    // What is no directory stays, and is in nobody's way.
    let file = kept_by(&interpreter).join("file");
    fs::write(&file, "").unwrap();
    fs::File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    std::os::unix::fs::chown(&old, Some(interpreter.user()), None).unwrap();
    interpreter.restart();
    interpreter.works();
    assert!(!old.exists() && recent.exists() && file.exists());
    assert_eq!(interpreter.execute(IMPORT)["stdout"], "first 0\n");
}

#[test]
fn bytecode_of_a_source_that_is_gone_is_removed() {
    let environment = Environment::new();
    environment.write("later.py", "value = 1");
    let mut interpreter = environment.start();
    interpreter.works();
    let (inner, later) = (kept(&interpreter, "inner"), kept(&interpreter, "later"));
    fs::remove_file(environment.packages.join("later.py")).unwrap();
    interpreter.restart();
    interpreter.works();
    until("it is removed", || !later.exists());
    assert!(inner.exists());
}
