"""The template of warm sandboxes: imports an environment's libraries once, then forks a child for each job.

It never sees a byte of a user. PID 1 only reaps, so that running jobs outlive a template that dies; the template is its child.
"""

from __future__ import annotations

import _signal  # type: ignore[import]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

STATUS_FD, CONTROL_FD = 3, 4
_CHILD_NAMESPACES = ("NEW_USER", "NEW_MOUNTS", "NEW_PIDS", "NEW_NETWORK", "NEW_IPC", "NEW_UTS")
# stdout, stderr, status, report and the control socket of a child
_CHILD_DESCRIPTORS = 5


def main(settings: str) -> NoReturn:
    """`settings` is JSON: imports, masked, read_only, filter."""
    os.write(STATUS_FD, b"started\n")
    if os.fork() == 0:
        os.close(STATUS_FD)
        _serve(settings)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.closerange(0, CONTROL_FD + 1)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        os._exit(0)


def _serve(settings: str) -> NoReturn:
    import gc
    import json
    import socket

    import ergon_kernel
    import ergon_seed
    from ergon_warm import Blueprint, become_init

    chosen: dict[str, Any] = json.loads(settings)
    control = socket.socket(fileno=CONTROL_FD)
    _import_libraries(chosen["imports"])
    blueprint = Blueprint.read(chosen["masked"], chosen["read_only"], chosen["filter"], ergon_seed.find_generators())
    namespaces = 0
    for name in _CHILD_NAMESPACES:
        namespaces |= getattr(ergon_kernel, name)
    # The kernel reaps the children: nobody here would.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    gc.collect()
    # What the collector never touches stays shared between all children.
    gc.freeze()
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, _CHILD_DESCRIPTORS)
        if not message:
            os._exit(0)
        first_uid = int(message)
        pid = ergon_kernel.fork_into(namespaces)
        if pid == 0:
            become_init(descriptors, blueprint)
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w") as file:
                file.write(f"0 {first_uid} 1\n1000 {first_uid + 1} 1\n")
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(b"forked")


def _import_libraries(names: list[str]) -> None:
    import importlib

    from ergon_job import prepare_matplotlib

    prepare_matplotlib()
    for name in names:
        importlib.import_module(name)
    # What every job needs of the standard library, whether or not a library has imported it.
    for name in ("atexit", "io", "json", "resource", "threading", "traceback", "ergon_python", "ergon_report"):
        importlib.import_module(name)
    if "matplotlib.pyplot" in names:
        _rehearse_plotting()


def _rehearse_plotting() -> None:
    """Draw once: fonts, glyphs and backends are then loaded, which is most of a first savefig."""
    import io

    import matplotlib.pyplot  # type: ignore[import]

    figure = matplotlib.pyplot.figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], label="x")
    axes.set_title(r"$\alpha$ 0123456789")
    axes.legend()
    for kind in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=kind)
    matplotlib.pyplot.close("all")
