"""One template: its container, and the making of children that are ready for a job."""

import os
import select
import signal
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..cgroup import Hierarchy, Leaf, LeafLimits, kill_until_empty, remove_leaf
from ..instance import STOP_PATIENCE_SECONDS
from ..runtime import Pipes, RuntimeProcess, launch
from .ready_child import ReadyChild

# The start of an interpreter and the import of everything, on a slow and busy machine.
_START_SECONDS: Final = 120.0
_STEP_SECONDS: Final = 10.0
# A template holds what its libraries hold; one that grows beyond is a leak, and the kernel ends it.
MEMORY_BYTES: Final = 2 << 30
_PIDS: Final = 4096
# Uids of a job and its init, above those that mean something inside an environment.
_FIRST_CHILD_UID: Final = 2000
MAX_CHILDREN: Final = 10_000
_CREDENTIALS: Final = struct.Struct("3i")
_MAX_LOG_BYTES: Final = 4096


class TemplateFailed(Exception):
    """The template did not start, died, or does not answer."""


@dataclass(frozen=True)
class Place:
    """Where a template's children live."""

    hierarchy: Hierarchy
    prefix: str
    first_host_uid: int


class Template:
    """A started container; every method raises TemplateFailed when it is of no more use."""

    def __init__(self, process: RuntimeProcess, control: socket.socket, leaf: Leaf, place: Place) -> None:
        self._process = process
        self._control = control
        self._leaf = leaf
        self._place = place
        self._container: int | None = None
        self.children = 0

    @staticmethod
    def start(command: list[str], leaf: Leaf, place: Place, log: Path) -> "Template":
        """Start the runtime in its leaf, with a control socket where a job has its report."""
        leaf.set_limits(LeafLimits(MEMORY_BYTES, _PIDS))
        pipes = Pipes.open()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.close(pipes.writing.pop())
        pipes.writing.append(theirs.detach())
        process = launch(command, leaf, pipes, log)
        return Template(process, ours, leaf, place)

    def wait_until_warm(self) -> None:
        """Until its imports are done."""
        _await(self._control, b"ready", _START_SECONDS)
        # The one process of the leaf whose parent is not in it: PID 1 of the container.
        self._container = os.pidfd_open(_first_of(self._leaf.processes()))

    @property
    def watched(self) -> int:
        """Readable when the container is gone."""
        if self._container is None:
            raise TemplateFailed("not warm yet")
        return self._container

    def make_child(self) -> ReadyChild:
        """Fork a child into a leaf of its own and wait until only the job is missing."""
        number = self.children
        self.children += 1
        name = f"{self._place.prefix}_{number}"
        leaf = self._place.hierarchy.create(name)
        pipes = Pipes.open()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            return self._make(leaf, name, pipes, ours, theirs)
        except (OSError, TemplateFailed) as error:
            reason = f"{error}; {self.last_words()} {_read(pipes.reading[1])}"
            pipes.close()
            ours.close()
            theirs.close()
            discard_leaf(leaf)
            raise TemplateFailed(reason) from error

    def _make(self, leaf: Leaf, name: str, pipes: Pipes, ours: socket.socket, theirs: socket.socket) -> ReadyChild:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        first_uid = _FIRST_CHILD_UID + 2 * (self.children - 1)
        socket.send_fds(self._control, [b"%d" % first_uid], [*pipes.writing, theirs.fileno()])
        theirs.close()
        pipes.close_writing()
        _await(self._control, b"forked", _STEP_SECONDS)
        # The kernel's word for who speaks, in the numbers of our own PID namespace.
        pid = _await(ours, b"hello", _STEP_SECONDS).pid
        pidfd = os.pidfd_open(pid)
        for file in leaf.join_files:
            with open(file, "wb", buffering=0) as join:
                join.write(b"%d" % pid)
        ours.send(b"boxed")
        notifications = _await(ours, b"ready", _STEP_SECONDS).descriptor
        if notifications is None:
            raise TemplateFailed("a child sent no seccomp descriptor")
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        job_uid = self._place.first_host_uid + first_uid + 1
        stdout, stderr, status, report = pipes.reading
        container = os.dup(self.watched)
        return ReadyChild(name, job_uid, ours.detach(), stdout, stderr, status, report, notifications, pidfd, network, container)

    def last_words(self) -> str:
        """What the container has printed, shortened."""
        return " ".join([_read(self._process.stderr), self._process.failure()])

    def memory_bytes(self) -> int:
        """What the template holds; its children are charged to leaves of their own."""
        return self._leaf.memory_bytes()

    def retire(self) -> None:
        """Fork no more; the container ends by itself after its last child."""
        self._control.close()
        # It may hang. PID 1, which the children live under, is left alone.
        for pid in self._leaf.processes():
            if _number_inside(pid) not in (None, 1):
                os.kill(pid, signal.SIGKILL)

    @property
    def is_over(self) -> bool:
        """True when the container and all its children are gone."""
        self._process.reap()
        return not self._leaf.processes()

    def remove(self) -> None:
        """Kill what is left, children included, and remove the leaf."""
        self._control.close()
        discard_leaf(self._leaf, self._process)
        self._process.close()
        if self._container is not None:
            os.close(self._container)


def _read(fd: int) -> str:
    with suppress(OSError):
        return os.read(fd, _MAX_LOG_BYTES).decode(errors="replace").strip()
    return ""


def discard_leaf(leaf: Leaf, process: RuntimeProcess | None = None) -> None:
    """Kill everything in a leaf and remove it; OSError when the kernel cannot."""
    emptied = kill_until_empty(leaf, STOP_PATIENCE_SECONDS, between=(lambda: None) if process is None else process.reap)
    if not emptied or not remove_leaf(leaf, STOP_PATIENCE_SECONDS):
        raise OSError("a template's cgroup leaf cannot be removed")


@dataclass(frozen=True)
class _Message:
    pid: int
    descriptor: int | None


def _await(sock: socket.socket, expected: bytes, seconds: float) -> _Message:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    if not poller.poll(seconds * 1000):
        raise TemplateFailed(f"no {expected.decode()} within {seconds:.0f} s")
    space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
    message, ancillary, _, _ = sock.recvmsg(64, space, socket.MSG_CMSG_CLOEXEC)
    pid, descriptor = 0, None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(data)[0]
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptor = struct.unpack("i", data[:4])[0]
    if message != expected:
        raise TemplateFailed(f"it said {message!r} instead of {expected!r}" if message else f"it ended before {expected.decode()}")
    return _Message(pid, descriptor)


def _first_of(pids: list[int]) -> int:
    """Return PID 1 of the container among the processes of its leaf (beside the runtime and the template itself)."""
    for pid in pids:
        if _number_inside(pid) == 1:
            return pid
    raise TemplateFailed("the container has no first process")


def _number_inside(pid: int) -> int | None:
    """Return a process's number in the container; None for one that is outside or gone."""
    with suppress(OSError), open(f"/proc/{pid}/status") as status:
        numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
        return int(numbers[-1]) if len(numbers) > 1 else None
    return None
