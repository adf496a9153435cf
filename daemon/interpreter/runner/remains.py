"""Imports a module, and finds what the import leaves that a child of this process would miss."""

import os
import sys
import time
import warnings

# Names of threads that a child does not miss. jemalloc (in pyarrow) returns memory in one, and works without it.
FORK_SAFE_THREADS = {"jemalloc_bg_thd"}

# Modules that restart their threads after a fork, which they notice by the process id → the name of their number of threads.
RESTARTED_THREADS = {"numexpr": "nthreads"}

# Longest time for a fork, in seconds.
FORK_DEADLINE = 5

# How long a thread may take to end, in seconds. One that was joined is still seen for a moment, and longer on a busy machine.
THREAD_DEADLINE = 0.5

# In place of a wait status: the process had no CPU for most of the time.
STARVED = object()


def imported(name):
    """Imports a module. Returns what it raised, and what it left that a child would miss; None for nothing."""
    before, error = (threads(), descriptors()), None
    try:
        __import__(name)
    except BaseException as raised:
        error = raised
    return error, what_is_left(*before)


def what_is_left(threads_before, descriptors_before):
    """Threads or descriptors that an import has left. A child has neither: a fork copies no threads, and a child closes descriptors."""
    if (more := threads() - threads_before) > 0:
        # Numeric libraries end their threads before a fork, and start them again when they are needed.
        fork_once()
        until = time.monotonic() + THREAD_DEADLINE
        while (more := threads() - threads_before) > 0 and time.monotonic() < until:
            time.sleep(0.001)
    if more > 0:
        return "a thread" if more == 1 else f"{more} threads"
    if opened := descriptors() - descriptors_before:
        return "an open descriptor" if len(opened) == 1 else f"{len(opened)} open descriptors"
    return None


def threads():
    """The number of threads, without those that a child does not miss."""
    restarted = sum(getattr(sys.modules.get(name), number, 0) for name, number in RESTARTED_THREADS.items())
    return sum(thread_name(task) not in FORK_SAFE_THREADS for task in os.listdir("/proc/self/task")) - restarted


def thread_name(task):
    try:
        with open(f"/proc/self/task/{task}/comm") as file:
            return file.read().strip()
    except OSError:
        # The thread has ended.
        return None


def descriptors():
    """The open descriptors, without the one that lists them."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def fork_once():
    child = fork()
    if not child:
        os._exit(0)
    # A fork handler in the child may wait for a thread that does not exist there.
    wait_for(child, FORK_DEADLINE)


def fork():
    with warnings.catch_warnings():
        # Python warns about a fork in a process with threads, which is intended here.
        warnings.simplefilter("ignore")
        return os.fork()


def wait_for(child, deadline):
    """Returns the child's wait status. One that takes more than `deadline` seconds is killed. Then returns None, or STARVED if it mostly waited for
    a CPU."""
    started, pause = time.monotonic(), 0.001
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        elapsed, starved = time.monotonic() - started, waited_for_cpu(child)
        if elapsed - starved > deadline or elapsed > 3 * deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return None if elapsed - starved > deadline else STARVED
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return ended[1]


def waited_for_cpu(process):
    """For how many seconds a process was ready to run and others ran."""
    try:
        with open(f"/proc/{process}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        # The kernel does not count it.
        return 0
