# Packages that programs use most. Only where they are installed.
# %% numpy: numbers
import numpy as np
np.random.seed(0)
print(np.random.rand(3), np.random.randint(0, 100, 5), np.random.default_rng(0).random(3), np.random.RandomState(1).normal(size=2))
print(np.arange(12).reshape(3, 4) @ np.ones((4, 2)), np.linalg.eigvalsh([[2, 1], [1, 2]]).round(6), np.float32(1) / 3, np.array(["a", "ż"]))
# %% numpy: warnings and errors
import numpy as np
print(np.array([1.0, 0.0]) / 0, np.log(-1.0), np.geterr(), np.get_printoptions()["precision"])
def function(): return np.ones((2, 3)) @ np.ones((2, 3))
function()
# %% numpy: files and threads
import threading, numpy as np
np.save("array.npy", np.arange(10)); np.savetxt("array.txt", np.eye(2))
a = np.random.default_rng(1).random((300, 300))
print(np.load("array.npy").sum(), open("array.txt").read(), np.allclose(a @ np.linalg.inv(a), np.eye(300)))
results = []
threads = [threading.Thread(target=lambda: results.append(np.allclose(a @ np.linalg.inv(a), np.eye(300)))) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(results)
# %% numpy: in children
import multiprocessing, numpy as np
def work(seed): return np.random.default_rng(seed).random((50, 50)).sum().round(6)
if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool: print(pool.map(work, [1, 2]))
# %% numpy: callbacks from C that raise
import numpy as np
np.vectorize(lambda x: 1 // x)(np.array([1, 0]))
# %% pandas: tables
import io, pandas as pd
table = pd.DataFrame({"a": [1, 2, None], "b": ["x", "ż", "x"]}, index=pd.date_range("2024-01-01", periods=3))
print(table, table.describe(), table.groupby("b").sum(), table.dtypes, table.to_json(), sep="\n")
print(pd.read_csv(io.StringIO("x,y\n1,2\n")).to_dict(), pd.get_option("display.max_rows"))
table.to_csv("table.csv")
# %% pandas: warnings and errors
import pandas as pd
table = pd.DataFrame({"a": [1, 2, 3]})
part = table[table.a > 1]
part["b"] = 1
table.groupby("missing")
# %% pyplot: a figure
import logging; logging.disable(logging.WARNING)
import matplotlib, matplotlib.pyplot as plt
print(plt.get_fignums(), plt.isinteractive(), matplotlib.rcParams["figure.figsize"])
figure = plt.figure()
changed = sorted(name for name in plt.rcParams if plt.rcParams[name] != matplotlib.rcParamsDefault[name])
print(figure.number, [name for name in changed if name != "backend"])
plt.plot([1, 2, 3], [1, 4, 9], label="squares"); plt.legend(); plt.title("żółć")
plt.savefig("plot.png")
# %% pyplot: several figures, pandas and threads
import logging; logging.disable(logging.WARNING)
import matplotlib.pyplot as plt, pandas as pd, threading
pd.DataFrame({"a": [1, 3, 2]}).plot()
plt.savefig("first.png")
for _ in range(21): plt.figure()
print(plt.get_fignums()[-1], plt.gcf().number)
plt.close("all")
plt.plot([1], marker="nothing")
# %% pillow: images
from PIL import Image, ImageDraw
image = Image.new("RGB", (40, 20), "white")
ImageDraw.Draw(image).line([(0, 0), (39, 19)], fill="red")
image.save("image.png"); image.resize((10, 5)).save("image.jpg")
print(Image.open("image.png").getpixel((0, 0)), image.histogram()[:2], image)
Image.open("missing.png")
# %% all at once, imported in functions
def run():
    import numpy, pandas, PIL
    print(numpy.__name__, pandas.__name__, numpy.__spec__.name, PIL.__package__, pandas.Series([1]).values.__class__)
run()
import numpy.linalg, sys
print("numpy" in sys.modules, numpy.linalg.__name__, numpy.__file__ == sys.modules["numpy"].__spec__.origin)
