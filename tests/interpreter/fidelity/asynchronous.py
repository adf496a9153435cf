# The module asyncio.
# %% tasks, in order
import asyncio
async def work(number):
    await asyncio.sleep(number / 100)
    print(number, asyncio.current_task().get_name())
    return number
async def main(): print(await asyncio.gather(*(work(number) for number in (3, 1, 2))))
asyncio.run(main())
# %% executors and threads
import asyncio, threading
async def main():
    loop = asyncio.get_running_loop()
    print(await loop.run_in_executor(None, lambda: threading.current_thread().name))
    print(await asyncio.to_thread(sum, [1, 2]), type(loop).__name__)
asyncio.run(main())
# %% subprocesses
import asyncio, sys
async def main():
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(input())", stdin=-1, stdout=-1)
    print(await child.communicate(b"text\n"), child.returncode)
    child = await asyncio.create_subprocess_shell("exit 3")
    print(await child.wait())
asyncio.run(main())
# %% an exception in a task
import asyncio
async def fail(): raise ValueError("in a task")
async def main():
    task = asyncio.create_task(fail(), name="own name")
    try: await task
    except ValueError as error: print("caught", error)
    await asyncio.gather(fail(), fail(), return_exceptions=True)
    await fail()
asyncio.run(main())
# %% an exception that nobody asks for
import asyncio
async def fail(): raise ValueError("in a task")
async def main():
    task = asyncio.create_task(fail(), name="own name")
    await asyncio.sleep(0.01)
    del task
    print("goes on")
asyncio.run(main())
# %% cancelled
import asyncio
async def forever():
    try: await asyncio.sleep(1000)
    except asyncio.CancelledError: print("cancelled"); raise
async def main():
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    task.cancel("message")
    try: await task
    except asyncio.CancelledError as error: print(repr(error), task)
    try: await asyncio.wait_for(forever(), 0.01)
    except asyncio.TimeoutError as error: print("timeout", repr(error))
    asyncio.create_task(forever())
    await asyncio.sleep(0)
asyncio.run(main())
# %% a task group
import asyncio
async def fail(): raise ValueError("in a group")
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        group.create_task(asyncio.sleep(1000))
asyncio.run(main())
# %% a loop that is not closed, with a pending task
import asyncio
async def forever(): await asyncio.sleep(1000)
loop = asyncio.new_event_loop()
task = loop.create_task(forever(), name="own name")
loop.run_until_complete(asyncio.sleep(0))
# %% without a loop
import asyncio, warnings
try: asyncio.get_running_loop()
except RuntimeError as error: print(error)
warnings.simplefilter("error")
try: print(type(asyncio.get_event_loop()).__name__)
except (RuntimeError, DeprecationWarning) as error: print(repr(error))
# %% debugging
import asyncio, logging, time
records = []
class Handler(logging.Handler):
    def emit(self, record): records.append(record.getMessage())
logging.getLogger("asyncio").addHandler(Handler())
logging.getLogger("asyncio").setLevel(logging.DEBUG)
async def main():
    print(asyncio.get_running_loop().get_debug())
    time.sleep(0.15)
asyncio.run(main(), debug=True)
print([record.split()[0] for record in records])
# %% streams over the loopback
import asyncio
async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain(); writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"text\n")
    print(await reader.read()); writer.close(); server.close()
asyncio.run(main())
# %% signals in a loop
import asyncio, os, signal
async def main():
    received = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, received.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await received.wait()
    print("received")
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(1000)
asyncio.run(main())
# %% sys.exit in a task
import asyncio, sys
async def main():
    asyncio.create_task(asyncio.sleep(1000))
    await asyncio.sleep(0)
    sys.exit(3)
asyncio.run(main())
# %% context variables, queues and locks
import asyncio, contextvars
variable = contextvars.ContextVar("variable", default="default")
async def work(queue):
    variable.set("changed")
    await queue.put(variable.get())
async def main():
    queue = asyncio.Queue()
    await asyncio.create_task(work(queue))
    print(await queue.get(), variable.get(), queue.empty())
    async with asyncio.Lock(): print("locked")
asyncio.run(main())
