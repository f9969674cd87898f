"""The making of one ready child: an init in namespaces of its own from the launcher, then a job from the template in them.

Most of it is waiting for one of those processes, and the keeper makes several at once: each waits for one word at a time.
"""

import os
import socket
import time
from collections.abc import Generator
from typing import Final, NamedTuple

from ..cgroup import Leaf
from ..runtime import Pipes
from ..workspace import Workspace
from .conversation import STEP_SECONDS, TemplateFailed, Word, read_some, read_word, speaking_pair
from .ready_child import ReadyChild

# As ergon_template.py expects them: the PID namespace, then those that ergon_kernel.JOINED lists.
_NAMESPACES: Final = ("pid", "user", "mnt", "net", "ipc", "uts", "cgroup")


class Expected(NamedTuple):
    """A word, and who is to say it."""

    source: socket.socket
    beginning: bytes


class Delivery:
    """One child from its first message to "ready"; `begin` and `advance` raise OSError or TemplateFailed.

    Launcher and template answer in the order in which they are asked: of several that wait for one of them, the one that asked first advances.
    """

    def __init__(self, name: str, launcher: socket.socket, template: socket.socket, leaf: Leaf, workspace: Workspace, number: int, first_uid: int) -> None:
        self.name = name
        self.leaf = leaf
        self._launcher = launcher
        self._template = template
        self._workspace = workspace
        self._number = number
        self._first_uid = first_uid
        self._pipes = Pipes.open()
        self._init, self._init_end = speaking_pair()
        self._job, self._job_end = speaking_pair()
        self._held: list[int] = []
        self._init_pidfd = -1
        self._mounts = -1
        self._network = -1
        self._notifications = -1
        self._steps = self._make()
        self._expected: Expected | None = None
        self._deadline = 0.0

    def begin(self) -> None:
        """Ask for the first thing."""
        self._expect(next(self._steps))

    @property
    def source(self) -> socket.socket:
        """Who is waited for."""
        return self._awaited.source

    @property
    def _awaited(self) -> Expected:
        if self._expected is None:
            raise TemplateFailed("the making of a child has not begun")
        return self._expected

    def advance(self) -> bool:
        """Go on now that `source` has spoken; True when the child is ready."""
        word = read_word(*self._awaited)
        try:
            self._expect(self._steps.send(word))
        except StopIteration:
            return True
        return False

    def check_time(self) -> None:
        """TemplateFailed when what is waited for has not come in time."""
        if time.monotonic() > self._deadline:
            raise TemplateFailed(f"no {self._awaited.beginning.decode()} within {STEP_SECONDS:.0f} s")

    def _expect(self, expected: Expected) -> None:
        self._expected = expected
        self._deadline = time.monotonic() + STEP_SECONDS

    def _make(self) -> Generator[Expected, Word, None]:
        namespaces = yield from self._make_init()
        yield from self._make_job(namespaces)

    def _make_init(self) -> Generator[Expected, Word, list[int]]:
        status = self._pipes.writing[2]
        socket.send_fds(self._launcher, [b"init %d %d" % (self._number, self._first_uid)], [status, self._init_end.fileno()])
        self._init_end.close()
        yield Expected(self._launcher, b"born")
        pid = (yield Expected(self._init, b"hello")).pid
        self._init_pidfd = self._hold(os.pidfd_open(pid))
        self._join(pid)
        socket.send_fds(self._init, [b"boxed"], self._workspace.descriptors)
        yield Expected(self._init, b"furnished")
        return [self._hold(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)) for name in _NAMESPACES]

    def _make_job(self, namespaces: list[int]) -> Generator[Expected, Word, None]:
        stdout, stderr, _, report = self._pipes.writing
        socket.send_fds(self._template, [b"fork"], [*namespaces, stdout, stderr, report, self._job_end.fileno()])
        self._job_end.close()
        self._pipes.close_writing()
        number_inside = int((yield Expected(self._template, b"forked")).text.split()[1])
        # The launcher is its parent: only it will see how the job ends.
        self._launcher.send(b"watch %d %d" % (self._number, number_inside))
        self._join((yield Expected(self._job, b"hello")).pid)
        self._job.send(b"boxed")
        notifications = (yield Expected(self._job, b"ready")).descriptor
        if notifications is None:
            raise TemplateFailed("a job sent no seccomp descriptor")
        self._notifications = self._hold(notifications)
        # With its last holder go all mounts, which takes some milliseconds: not init's end, which is waited for.
        self._mounts = namespaces[_NAMESPACES.index("mnt")]
        self._network = namespaces[_NAMESPACES.index("net")]

    def _join(self, pid: int) -> None:
        for file in self.leaf.join_files:
            with open(file, "wb", buffering=0) as join:
                join.write(b"%d" % pid)

    def _hold(self, descriptor: int) -> int:
        self._held.append(descriptor)
        return descriptor

    def as_ready(self, container: int) -> ReadyChild:
        """Give everything away."""
        kept = {self._init_pidfd, self._mounts, self._network, self._notifications}
        for descriptor in set(self._held) - kept:
            os.close(descriptor)
        stdout, stderr, status, report = self._pipes.reading
        # It has said all it had to say.
        self._init.close()
        job = self._job.detach()
        volumes = self._workspace.release()
        return ReadyChild(self.name, job, stdout, stderr, status, report, self._notifications, self._init_pidfd, self._mounts, self._network, container, *volumes)

    def last_words(self) -> str:
        """What the child said of its failure."""
        _, stderr, status, _ = self._pipes.reading
        return f"{read_some(status)} {read_some(stderr)}".strip()

    def abandon(self) -> None:
        """Close everything; what was made of the child then ends."""
        self._steps.close()
        self._pipes.close()
        self._workspace.close()
        for end in (self._init, self._init_end, self._job, self._job_end):
            end.close()
        for descriptor in self._held:
            os.close(descriptor)
