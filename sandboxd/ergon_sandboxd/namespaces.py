"""Entering namespaces of its own, so that the kernel ends every sandbox when sandboxd ends, however it ends."""

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Final

from . import syscalls
from .cgroup.detect import CgroupMounts, read_mounts

_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STOP_SECONDS: Final = 20


def die_with(parent: int) -> None:
    """Have the kernel tell this process to stop, cgroups and all, when the process that started it ends."""
    syscalls.die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("sandboxd: the process that started it is gone")


class OwnNamespaces:
    """The mount and network namespaces that a process is in now, to come back to from those of a sandbox."""

    def __init__(self) -> None:
        kinds = {"mnt": syscalls.CLONE_NEWNS, "net": syscalls.CLONE_NEWNET}
        self._held = [(f"/proc/self/ns/{name}", os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds.items()]

    def come_back(self) -> None:
        """Enter them again; a sandbox's own go with their last process, all mounts at once."""
        for current, own, kind in self._held:
            # Entering the one that we are in may wait for whoever mounts something there.
            if not os.path.samestat(os.stat(current), os.fstat(own)):
                syscalls.enter(own, kind)


def run_inside(body: Callable[[CgroupMounts], int]) -> int:
    """Run `body` as PID 1 of new mount, PID and network namespaces and return its exit status.

    It is told the host's cgroup mounts as they were before one of them had to be hidden.

    util-linux's unshare would do the same, but blocks SIGTERM in the process that the caller knows; this one passes it on.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    alive_reading, alive_writing = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        os.close(alive_writing)
        os._exit(_inside(body, alive_reading))
    os.close(alive_reading)

    def pass_on(received: int, frame: object) -> None:
        os.kill(child, received)
        # A stop that hangs ends by force: this process's death is the kernel's signal to end everything below it.
        signal.alarm(_STOP_SECONDS)

    for number in _FORWARDED:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def _inside(body: Callable[[CgroupMounts], int], alive_reading: int) -> int:
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        poller = select.poll()
        poller.register(alive_reading, select.POLLIN)
        if poller.poll(0):
            return 1
        # Stop signals stay blocked until the body has handlers: PID 1 would lose them, blocked they wait.
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
        mounts = read_mounts()
        if mounts.layout == "hybrid" and mounts.v2 is not None:
            # crun 1.8 refuses a host whose v2 mount still holds a controller; hidden here, untouched outside.
            syscalls.unmount(str(mounts.v2))
        return body(mounts)
    except Exception as error:
        print(f"sandboxd: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        sys.stdout.flush()
