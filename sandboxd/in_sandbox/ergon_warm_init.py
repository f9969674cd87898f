"""The init of a warm sandbox: PID 1 of fresh namespaces, which it furnishes before the job comes and keeps alive after."""

from __future__ import annotations

import _signal  # type: ignore[import]
import os
import socket

import ergon_kernel as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_STATUS_FD, _CONTROL_FD = 3, 4
_VOLUMES = 4


class Enclosure:
    """What every init of one template does alike."""

    def __init__(self, masked_files: list[str], masked_folders: list[str], read_only: list[str], last_capability: int) -> None:
        self.masked_files = masked_files
        self.masked_folders = masked_folders
        self.read_only = read_only
        self.last_capability = last_capability

    @staticmethod
    def read(masked: list[str], read_only: list[str]) -> Enclosure:
        """Look once which of the paths this kernel has."""
        present = [path for path in masked if os.path.exists(path)]
        folders = [path for path in present if os.path.isdir(path)]
        files = [path for path in present if path not in folders]
        return Enclosure(files, folders, [path for path in read_only if os.path.exists(path)], kernel.last_capability())


def become_init(status: int, control_fd: int, enclosure: Enclosure) -> NoReturn:
    """Furnish the namespaces, and stay until killed."""
    try:
        control = _arrange(status, control_fd)
        control.send(b"hello")
        # sandboxd learns our pid from the kernel, and answers with its volumes when we are in the job's cgroup.
        message, volumes, _, _ = socket.recv_fds(control, 16, _VOLUMES)
        if not message:
            os._exit(0)
        _furnish(enclosure)
        _attach(*volumes)
        kernel.empty_bounding_set(enclosure.last_capability)
        kernel.drop_capabilities()
        os.write(_STATUS_FD, b"started\n")
        control.send(b"furnished")
    except BaseException as error:
        os.write(_STATUS_FD, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    # Orphans of the job are the kernel's to reap, and Python's handler for SIGINT must not end PID 1.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.closerange(0, 1 << 16)
    while True:
        _signal.pause()


def _arrange(status: int, control: int) -> socket.socket:
    """Put the descriptors where they belong and close all that the launcher had."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    # Two steps: a source may sit on a number that is about to be overwritten.
    moved = kernel.move_up([status, control])
    for fd, target in zip(moved, (_STATUS_FD, _CONTROL_FD), strict=True):
        os.dup2(fd, target)
    os.closerange(_CONTROL_FD + 1, 1 << 16)
    return socket.socket(fileno=_CONTROL_FD)


def _furnish(enclosure: Enclosure) -> None:
    """Everything of the job's surroundings that does not depend on the job."""
    # Only now: the namespace's root is the group that we are in.
    kernel.unshare(kernel.NEW_CGROUP)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    kernel.mount("", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC)
    for path in enclosure.masked_files:
        kernel.mount("/dev/null", path, "", kernel.BIND)
    for path in enclosure.masked_folders:
        kernel.mount("tmpfs", path, "tmpfs", kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC, "size=4k")
    for path in enclosure.read_only:
        kernel.bind_read_only(path, path, kernel.NO_EXEC)
    kernel.mount("", "/dev", "", kernel.BIND | kernel.REMOUNT | kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_EXEC)
    kernel.loopback_up()


def _attach(files: int, inputs: int, tmp: int, shm: int) -> None:
    kernel.attach(files, "/workspace")
    # /tmp lends itself: the two folders are wanted, their parent is not.
    kernel.attach(inputs, "/tmp")
    for name in ("code", "input"):
        kernel.bind_read_only(f"/tmp/{name}", f"/workspace/{name}")
    kernel.unmount("/tmp")
    kernel.attach(tmp, "/tmp")
    kernel.attach(shm, "/dev/shm")
