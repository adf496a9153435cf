# Threads, also those that are alive when the program has ended.
# %% the main thread
import os, threading, _thread
main = threading.main_thread()
print(main.name, main is threading.current_thread(), main.daemon, main.is_alive(), type(main).__name__)
print(main.ident == threading.get_ident() == _thread.get_ident(), main.native_id == threading.get_native_id() == os.getpid())
print(threading.active_count(), threading.enumerate() == [main], _thread._count(), threading.stack_size(), len(os.listdir("/proc/self/task")))
print(threading.gettrace() if hasattr(threading, "gettrace") else None, threading._profile_hook, threading.excepthook.__name__)
# %% names of threads
import concurrent.futures, threading
threads = [threading.Thread(target=print) for _ in range(2)] + [threading.Timer(0, print)]
print([thread.name for thread in threads], threads[0])
with concurrent.futures.ThreadPoolExecutor(1) as pool: print(pool.submit(lambda: threading.current_thread().name).result())
# %% one that ends after the main program
import threading, time
def late():
    threading.main_thread().join()
    print("main thread is alive:", threading.main_thread().is_alive())
threading.Thread(target=late).start()
print("end")
# %% a daemon that sleeps
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("end")
# %% a daemon that waits for a lock
import threading
lock = threading.Lock()
lock.acquire()
threading.Thread(target=lock.acquire, daemon=True).start()
print("end", threading.active_count())
# %% a daemon that computes
import threading
def compute():
    while True: sum(range(1000))
threading.Thread(target=compute, daemon=True).start()
print("end")
# %% one that makes another while leaving
import threading
def second(): print("second")
def first():
    threading.main_thread().join()
    try: threading.Thread(target=second).start()
    except RuntimeError as error: print(error)
threading.Thread(target=first).start()
# %% one that is made in an atexit function
import atexit, threading
def start():
    try:
        thread = threading.Thread(target=print, args=("in the thread",))
        thread.start(); thread.join()
    except RuntimeError as error: print(error)
atexit.register(start)
# %% an executor that is not shut down
import concurrent.futures, threading
pool, ended = concurrent.futures.ThreadPoolExecutor(2), threading.Event()
futures = [pool.submit(lambda number: (ended.wait(), print(number, end="")), 1) for _ in range(4)]
print("end ", end="")
ended.set()
# %% a timer
import threading
threading.Timer(0.3, print, ("timer",)).start()
print("end")
# %% sys.exit while a thread runs
import sys, threading, time
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
sys.exit(3)
# %% an exception while a thread runs
import threading, time
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
raise ValueError("text")
# %% the exit code is the main thread's, whatever the others do
import os, threading, time
def leave():
    threading.main_thread().join()
    os._exit(9)
threading.Thread(target=leave).start()
# %% locks, conditions, barriers, semaphores
import threading
barrier, semaphore, results = threading.Barrier(3), threading.Semaphore(0), []
def work(number):
    barrier.wait()
    with condition: results.append(number); condition.notify_all()
    semaphore.release()
condition = threading.Condition()
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
with condition: print(condition.wait_for(lambda: len(results) == 3, 30), sorted(results))
print([semaphore.acquire(timeout=30) for _ in threads], semaphore.acquire(blocking=False))
# %% many threads
import threading
threads = [threading.Thread(target=lambda: None) for _ in range(100)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(threading.active_count())
# %% a lock that another thread holds for ever, at the end
import threading, sys
lock = threading.RLock()
event = threading.Event()
def hold():
    lock.acquire(); event.set()
    threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
event.wait()
print(lock.acquire(timeout=0.01), lock.__class__.__name__)
