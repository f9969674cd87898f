"""A job forked from the template: enters the namespaces of its init, gives up every right, and waits to be told what to run."""

from __future__ import annotations

import json
import os
import resource
import socket
from dataclasses import dataclass

import ergon_kernel as kernel
from ergon_job import Entry, leave_init, prepare_matplotlib, run_entry
from ergon_python import prepare_streams
from ergon_seed import Generators, seed_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

REPORT_FD = 4
_CONTROL_FD = 5
_MAX_ORDER_BYTES = 1 << 18


@dataclass(frozen=True)
class Blueprint:
    """What every job of one template has in common."""

    filter: kernel.SeccompFilter
    last_capability: int
    generators: Generators


def become_job(namespaces: list[int], streams: list[int], blueprint: Blueprint) -> NoReturn:
    """Namespaces in the order of kernel.JOINED; streams: stdout, stderr, report, control."""
    try:
        for namespace, kind in zip(namespaces, kernel.JOINED, strict=True):
            kernel.enter(namespace, kind)
        control = _arrange(streams)
        control.send(b"hello")
        # sandboxd learns our pid from the kernel, and answers when we are in the job's cgroup.
        if control.recv(16) != b"boxed":
            os._exit(0)
        os.setgroups([])
        # A change of uid makes /proc/self the host's; leave_init() writes there, and changes the uid again.
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        kernel.own_proc_files()
        kernel.empty_bounding_set(blueprint.last_capability)
        leave_init()
        prepare_matplotlib()
        prepare_streams()
        _rehearse(blueprint.generators)
        # The last that can fail, so that "ready" means it.
        notifications = blueprint.filter.install()
        socket.send_fds(control, [b"ready"], [notifications])
        os.close(notifications)
        order = _read_order(control)
        control.close()
        # The root folder that the template stood in lies below what init has mounted.
        os.chdir("/workspace")
        for name, value in order["rlimits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    run_entry(Entry(order["variables"], ["python", order["file"]], order["seed"]), REPORT_FD, blueprint.generators)


def _rehearse(generators: Generators) -> None:
    """Do what a start does, while nobody waits: the first write to a page that the template shares copies it.

    Nothing of it lasts: the generators are seeded again when the job is known.
    """
    seed_job(None, generators)
    json.loads('{"rlimits": {"RLIMIT_CORE": 0}}')
    exec(compile("import time", "rehearsal", "exec", dont_inherit=True), {})


def _arrange(streams: list[int]) -> socket.socket:
    """Put the descriptors where they belong and close all that the template had."""
    # Two steps: a source may sit on a number that is about to be overwritten.
    moved = kernel.move_up(streams)
    for fd, target in zip(moved, (1, 2, REPORT_FD, _CONTROL_FD), strict=True):
        os.dup2(fd, target)
    # 3 is the status descriptor of others.
    os.closerange(3, REPORT_FD)
    os.closerange(_CONTROL_FD + 1, 1 << 16)
    return socket.socket(fileno=_CONTROL_FD)


def _read_order(control: socket.socket) -> dict[str, Any]:
    """Wait for sandboxd's word; a job that is not wanted any more ends here."""
    message = control.recv(_MAX_ORDER_BYTES)
    if not message:
        os._exit(0)
    order: dict[str, Any] = json.loads(message)
    return order
