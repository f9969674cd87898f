"""The floor of a warm start: an interpreter with libraries imported that forks into new namespaces, and nothing else.

Runs inside the environment's root file system; the arguments are what to import. What a fork costs grows with what a process
holds, so they must be what a template imports. One command a line on standard input, one answer a line on standard output:
once       milliseconds from the call to the child's first instruction
savefig    milliseconds of the first savefig in a child: nothing was drawn before
many N C   seconds for N children that do nothing, C at once
"""

import ctypes
import gc
import importlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable

import matplotlib  # type: ignore[import]

CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
# User, mount, PID, network, IPC and UTS, as a job gets them.
NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
LIBRARY = ctypes.PyDLL(None, use_errno=True)


def fork_into_namespaces() -> int:
    """Return the child's pid, 0 in the child."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = LIBRARY.syscall(CLONE, NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return int(pid)


def in_child(work: Callable[[], float]) -> float:
    """What `work` returns in a child."""
    reading, writing = os.pipe()
    pid = fork_into_namespaces()
    if pid == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    answer = os.read(reading, 64)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    return float(json.loads(answer))


def once() -> float:
    """Milliseconds to the first instruction of one child."""
    began = time.perf_counter()
    return (in_child(time.perf_counter) - began) * 1e3


def savefig() -> float:
    """Milliseconds of the first savefig in a child."""
    return in_child(draw)


def draw() -> float:
    """Milliseconds of a savefig."""
    import matplotlib.pyplot  # type: ignore[import]

    figure, axes = matplotlib.pyplot.subplots()
    axes.plot([1, 2, 3])
    axes.set_title("x")
    began = time.perf_counter()
    figure.savefig(io.BytesIO(), format="png")
    return (time.perf_counter() - began) * 1e3


def many(runs: int, at_once: int) -> float:
    """Seconds for so many children."""
    began, started, running = time.perf_counter(), 0, 0
    while started < runs or running:
        while started < runs and running < at_once:
            if fork_into_namespaces() == 0:
                os._exit(0)
            started, running = started + 1, running + 1
        os.wait()
        running -= 1
    return time.perf_counter() - began


matplotlib.use("Agg")
for library in sys.argv[1:]:
    importlib.import_module(library)
gc.collect()
gc.freeze()
print(json.dumps("ready"), flush=True)
COMMANDS: "dict[str, Callable[..., float]]" = {"once": once, "savefig": savefig, "many": many}
for line in sys.stdin:
    name, *numbers = line.split()
    print(json.dumps(COMMANDS[name](*map(int, numbers))), flush=True)
