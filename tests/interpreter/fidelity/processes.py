# The module multiprocessing.
# %% the main process
import multiprocessing
from multiprocessing import process
main = multiprocessing.current_process()
print(main.name, main._identity, main.daemon, multiprocessing.parent_process(), multiprocessing.active_children(), type(main).__name__)
print(multiprocessing.get_start_method(), multiprocessing.get_all_start_methods(), len(main.authkey), process._process_counter)
# %% spawn
import multiprocessing, os, sys
print("imported as", __name__, sys.argv, os.path.basename(__file__))
def work(queue, number):
    queue.put((number * 2, __name__, multiprocessing.current_process().name, multiprocessing.parent_process() is not None))
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue, 21))
    child.start()
    print(queue.get())
    child.join()
    print(child.exitcode, child.name)
# %% fork
import multiprocessing
def work(queue, number): queue.put((number * 2, __name__, multiprocessing.current_process().name))
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue, 21))
child.start()
print(queue.get(), child.join(), child.exitcode)
# %% forkserver
import multiprocessing
def work(number): return number * 2, __name__
if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(1) as pool: print(pool.map(work, [1, 2]))
# %% a pool
import multiprocessing
def square(x): return x * x
def fail(x): raise ValueError(x)
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(10)), list(pool.imap(square, [3])), pool.apply_async(square, (4,)).get(), pool)
        try: pool.apply(fail, ("text",))
        except ValueError as error: print(repr(error), type(error.__cause__).__name__)
# %% a pool that is left open
import multiprocessing
def square(x): return x * x
pool = multiprocessing.get_context("fork").Pool(1)
print(pool.map(square, [1, 2]))
# %% how children end
import multiprocessing, os, signal, sys, time
def end(how):
    if how == "exception": raise ValueError("in the child")
    if how == "exit": sys.exit(3)
    if how == "text": sys.exit("why")
    if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if how == "_exit": os._exit(5)
context = multiprocessing.get_context("fork")
for how in ["nothing", "exception", "exit", "text", "kill", "_exit"]:
    child = context.Process(target=end, args=(how,))
    child.start(); child.join()
    print(how, child.exitcode, flush=True)
child = context.Process(target=time.sleep, args=(1000,))
child.start(); child.terminate(); child.join()
print("terminated", child.exitcode)
# %% children that are alive at the end
import multiprocessing, time
def late(): time.sleep(0.3); print("child", flush=True)
def daemon(): time.sleep(1000)
context = multiprocessing.get_context("fork")
context.Process(target=daemon, daemon=True).start()
context.Process(target=late).start()
print("end", flush=True)
# %% spawn without a guard
import multiprocessing
def work(): pass
child = multiprocessing.get_context("spawn").Process(target=work)
child.start(); child.join()
print(child.exitcode)
# %% shared memory and values
from multiprocessing import Array, Lock, Pipe, Process, Value, shared_memory
def work(value, array, name, end, lock):
    with lock: value.value += 1
    array[0] = 2.5
    memory = shared_memory.SharedMemory(name)
    memory.buf[:5] = b"bytes"
    memory.close(); end.send({"sent": [1]})
memory, value, array = shared_memory.SharedMemory(create=True, size=100), Value("i", 41), Array("d", 2)
ours, theirs = Pipe()
child = Process(target=work, args=(value, array, memory.name, theirs, Lock()))
child.start(); child.join()
print(value.value, list(array), bytes(memory.buf[:5]), ours.recv(), len(memory.buf) >= 100)
memory.close(); memory.unlink()
# %% a manager
import multiprocessing
with multiprocessing.Manager() as manager:
    shared = manager.dict(a=1)
    shared["b"] = 2
    print(dict(shared), manager.list([1])[0])
# %% a process pool of concurrent.futures
import concurrent.futures, os
def square(x): return x * x
def leave(): os._exit(1)
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(square, range(5))))
        try: pool.submit(leave).result()
        except concurrent.futures.process.BrokenProcessPool as error: print(type(error).__name__)
# %% output of children that is buffered
import multiprocessing, sys
sys.stdout = open(1, "w", buffering=1 << 16, closefd=False)
print("before")
def work(): print("child")
sys.stdout.flush()
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join()
print("after")
