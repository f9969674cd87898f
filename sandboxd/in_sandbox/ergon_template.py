"""The template of warm sandboxes: imports an environment's libraries once, then forks a job for each that is asked for.

It never sees a byte of a user.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import socket

import ergon_kernel as kernel
import ergon_memory
from ergon_job import prepare_matplotlib
from ergon_seed import find_generators
from ergon_warm_job import Blueprint, become_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# The namespaces of the job's init in the order of kernel.JOINED, then stdout, stderr, report and the control socket.
_DESCRIPTORS = 11
# What every job needs of the standard library, whether or not a library has imported it.
_ALWAYS = ("atexit", "io", "json", "resource", "threading", "traceback", "ergon_python", "ergon_report")


def serve(control: socket.socket, settings: dict[str, Any]) -> NoReturn:
    """Import, say so, and fork a job for each request until the socket closes."""
    room = ergon_memory.make_room()
    _import_libraries(settings["imports"])
    del room
    blueprint = Blueprint(kernel.SeccompFilter(settings["filter"]), kernel.last_capability(), find_generators())
    _end_threads()
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
    gc.collect()
    ergon_memory.make_forks_cheap()
    # What the collector never touches stays shared between all jobs.
    gc.freeze()
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, _DESCRIPTORS)
        if not message:
            os._exit(0)
        pids, namespaces, streams = descriptors[0], descriptors[1:7], descriptors[7:]
        # Of one's PID namespace only children can be moved, and only at their birth.
        kernel.enter(pids, kernel.NEW_PIDS)
        pid = kernel.fork_into(kernel.SIBLING)
        if pid == 0:
            become_job(namespaces, streams, blueprint)
        kernel.enter(own_pids, kernel.NEW_PIDS)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(b"forked %d" % pid)


def _end_threads() -> None:
    """Fork once as programs do: libraries are told, and give up threads that no child of a template would have."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _import_libraries(names: list[str]) -> None:
    prepare_matplotlib()
    for name in (*names, *_ALWAYS):
        importlib.import_module(name)
    # The first compilation makes the types of the syntax tree: some milliseconds of every job else.
    compile("", "<template>", "exec")
    if "matplotlib.pyplot" in names:
        _rehearse_plotting()


def _rehearse_plotting() -> None:
    """Draw once: fonts, glyphs and backends are then loaded, which is most of a first savefig."""
    import matplotlib.pyplot  # type: ignore[import]

    figure = matplotlib.pyplot.figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], label="x")
    axes.set_title(r"$\alpha$ 0123456789")
    axes.legend()
    for kind in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=kind)
    matplotlib.pyplot.close("all")
