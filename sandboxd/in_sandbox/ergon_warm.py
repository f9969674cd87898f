"""A warm sandbox from inside: the template's child becomes init of namespaces of its own and forks the job, which waits.

Everything that can be done before the job is known is done before; what is left is to attach its files and to let it go.
"""

from __future__ import annotations

import _signal  # type: ignore[import]
import json
import os
import socket
from dataclasses import dataclass

import ergon_kernel as kernel
from ergon_job import Entry, leave_init, run_entry
from ergon_seed import Generators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

STATUS_FD, REPORT_FD = 3, 4
# The job has no use for the status descriptor, so its instructions come on that number.
_INSTRUCTIONS_FD = 3
_CONTROL_FD, _INSTRUCTIONS_END_FD = 5, 6
_MAX_MESSAGE = 1 << 18
_VOLUMES = 4


@dataclass(frozen=True)
class Blueprint:
    """What every child of one template has in common."""

    masked_files: tuple[str, ...]
    masked_folders: tuple[str, ...]
    read_only: tuple[str, ...]
    filter: kernel.SeccompFilter
    last_capability: int
    generators: Generators

    @staticmethod
    def read(masked: list[str], read_only: list[str], filter_path: str, generators: Generators) -> Blueprint:
        """Look once which of the paths this kernel has."""
        with open("/proc/sys/kernel/cap_last_cap") as file:
            last = int(file.read())
        return Blueprint(
            tuple(path for path in masked if os.path.exists(path) and not os.path.isdir(path)),
            tuple(path for path in masked if os.path.isdir(path)),
            tuple(path for path in read_only if os.path.exists(path)),
            kernel.SeccompFilter(filter_path),
            last,
            generators,
        )


def become_init(descriptors: list[int], blueprint: Blueprint) -> NoReturn:
    """PID 1 of a fresh set of namespaces; descriptors: stdout, stderr, status, report, control."""
    try:
        # Set to be ignored by the template, which would make wait() blind.
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        control = _arrange(descriptors)
        control.send(b"hello")
        # sandboxd learns our pid from the kernel, and answers when we are in the job's cgroup.
        if control.recv(16) != b"boxed":
            os._exit(0)
        _enclose(blueprint)
        reading, writing = os.pipe()
        # For the job's own oom_score_adj; its change of uid takes them back.
        kernel.own_proc_files(True)
        job = os.fork()
        if job == 0:
            _become_job(control, reading, blueprint)
        kernel.own_proc_files(False)
        os.close(reading)
        os.dup2(writing, _INSTRUCTIONS_END_FD)
        os.closerange(_INSTRUCTIONS_END_FD + 1, 1 << 16)
        _start(control, _INSTRUCTIONS_END_FD)
    except BaseException as error:
        # Not the job's report: it is for sandboxd's log, and the job never ran.
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.closerange(0, STATUS_FD)
    os.closerange(STATUS_FD + 1, _INSTRUCTIONS_END_FD + 1)
    while True:
        pid, status = os.wait()
        if pid == job:
            break
    os.write(STATUS_FD, b"exit %d\n" % status)
    # At once: the kernel ends every orphan with PID 1.
    os._exit(0)


def _arrange(descriptors: list[int]) -> socket.socket:
    """Put the descriptors where they belong and close all that the template had."""
    # Two steps: a source may sit on a number that is about to be overwritten.
    moved = [os.dup2(fd, 64 + index, inheritable=False) for index, fd in enumerate(descriptors)]
    for fd, target in zip(moved, (1, 2, STATUS_FD, REPORT_FD, _CONTROL_FD), strict=True):
        os.dup2(fd, target)
    os.closerange(_CONTROL_FD + 1, 1 << 16)
    return socket.socket(fileno=_CONTROL_FD)


def _enclose(blueprint: Blueprint) -> None:
    """Everything of the job's surroundings that does not depend on the job."""
    # Only now: the namespace's root is the group that we are in.
    kernel.unshare(kernel.NEW_CGROUP)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    kernel.mount("", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC)
    for path in blueprint.masked_files:
        kernel.mount("/dev/null", path, "", kernel.BIND)
    for path in blueprint.masked_folders:
        kernel.mount("tmpfs", path, "tmpfs", kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC, "size=4k")
    for path in blueprint.read_only:
        kernel.bind_read_only(path, path)
    kernel.mount("", "/dev", "", kernel.BIND | kernel.REMOUNT | kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_EXEC)
    kernel.loopback_up()
    kernel.empty_bounding_set(blueprint.last_capability)


def _become_job(control: socket.socket, instructions: int, blueprint: Blueprint) -> NoReturn:
    try:
        os.dup2(instructions, _INSTRUCTIONS_FD)
        os.closerange(_CONTROL_FD + 1, 1 << 16)
        leave_init()
        # The last that can fail, so that "ready" means it.
        notifications = blueprint.filter.install()
        socket.send_fds(control, [b"ready"], [notifications])
        os.close(notifications)
        control.close()
        order = _read_order(_INSTRUCTIONS_FD)
        os.closerange(REPORT_FD + 1, 1 << 16)
        os.close(_INSTRUCTIONS_FD)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    # The folder that the template stood in lies below the one that was attached since.
    os.chdir("/workspace")
    _limit(order["rlimits"])
    run_entry(Entry(order["variables"], ["python", order["file"]], order["seed"]), REPORT_FD, blueprint.generators)


def _read_order(fd: int) -> dict[str, Any]:
    """Wait for init's word; a child that is not wanted any more ends here."""
    parts = []
    while part := os.read(fd, 65_536):
        parts.append(part)
    if not parts:
        os._exit(0)
    order: dict[str, Any] = json.loads(b"".join(parts))
    return order


def _limit(limits: dict[str, int]) -> None:
    import resource

    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _start(control: socket.socket, instructions: int) -> None:
    """Wait for the job, attach its volumes, drop what is not needed any more, and let it go."""
    order, volumes, _, _ = socket.recv_fds(control, _MAX_MESSAGE, _VOLUMES)
    if not order:
        os._exit(0)
    files, inputs, tmp, shm = volumes
    kernel.attach(files, "/workspace")
    # /tmp lends itself: the two folders are wanted, their parent is not.
    kernel.attach(inputs, "/tmp")
    for name in ("code", "input"):
        kernel.bind_read_only(f"/tmp/{name}", f"/workspace/{name}")
    kernel.unmount("/tmp")
    kernel.attach(tmp, "/tmp")
    kernel.attach(shm, "/dev/shm")
    kernel.drop_capabilities()
    os.closerange(instructions + 1, 1 << 16)
    os.write(STATUS_FD, b"started\n")
    view = memoryview(order)
    while view:
        view = view[os.write(instructions, view) :]
    os.close(instructions)
