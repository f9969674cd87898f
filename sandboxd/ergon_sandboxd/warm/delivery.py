"""The making of one ready child: an init in namespaces of its own from the launcher, then a job from the template in them."""

import os
import socket
from typing import Final

from ..cgroup import Leaf
from ..runtime import Pipes
from ..workspace import Workspace
from .conversation import TemplateFailed, await_word, read_some, speaking_pair
from .ready_child import ReadyChild

# As ergon_template.py expects them: the PID namespace, then those that ergon_kernel.JOINED lists.
_NAMESPACES: Final = ("pid", "user", "mnt", "net", "ipc", "uts", "cgroup")


class Delivery:
    """One child from its first message to "ready"; `run` raises OSError or TemplateFailed."""

    def __init__(self, launcher: socket.socket, template: socket.socket, leaf: Leaf, workspace: Workspace, number: int, first_uid: int) -> None:
        self._launcher = launcher
        self._template = template
        self._leaf = leaf
        self._workspace = workspace
        self._number = number
        self._first_uid = first_uid
        self._pipes = Pipes.open()
        self._init, self._init_end = speaking_pair()
        self._job, self._job_end = speaking_pair()
        self._held: list[int] = []
        self._init_pidfd = -1
        self._network = -1
        self._notifications = -1

    def run(self) -> None:
        """Make it."""
        namespaces = self._make_init()
        self._make_job(namespaces)

    def _make_init(self) -> list[int]:
        status = self._pipes.writing[2]
        socket.send_fds(self._launcher, [b"init %d %d" % (self._number, self._first_uid)], [status, self._init_end.fileno()])
        self._init_end.close()
        await_word(self._launcher, b"born")
        pid = await_word(self._init, b"hello").pid
        self._init_pidfd = self._hold(os.pidfd_open(pid))
        self._join(pid)
        socket.send_fds(self._init, [b"boxed"], self._workspace.descriptors)
        await_word(self._init, b"furnished")
        return [self._hold(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)) for name in _NAMESPACES]

    def _make_job(self, namespaces: list[int]) -> None:
        stdout, stderr, _, report = self._pipes.writing
        socket.send_fds(self._template, [b"fork"], [*namespaces, stdout, stderr, report, self._job_end.fileno()])
        self._job_end.close()
        self._pipes.close_writing()
        number_inside = int(await_word(self._template, b"forked").text.split()[1])
        # The launcher is its parent: only it will see how the job ends.
        self._launcher.send(b"watch %d %d" % (self._number, number_inside))
        self._join(await_word(self._job, b"hello").pid)
        self._job.send(b"boxed")
        notifications = await_word(self._job, b"ready").descriptor
        if notifications is None:
            raise TemplateFailed("a job sent no seccomp descriptor")
        self._notifications = self._hold(notifications)
        self._network = namespaces[_NAMESPACES.index("net")]

    def _join(self, pid: int) -> None:
        for file in self._leaf.join_files:
            with open(file, "wb", buffering=0) as join:
                join.write(b"%d" % pid)

    def _hold(self, descriptor: int) -> int:
        self._held.append(descriptor)
        return descriptor

    def as_ready(self, leaf: str, container: int) -> ReadyChild:
        """Give everything away."""
        kept = {self._init_pidfd, self._network, self._notifications}
        for descriptor in set(self._held) - kept:
            os.close(descriptor)
        stdout, stderr, status, report = self._pipes.reading
        # It has said all it had to say.
        self._init.close()
        job = self._job.detach()
        volumes = self._workspace.release()
        return ReadyChild(leaf, job, stdout, stderr, status, report, self._notifications, self._init_pidfd, self._network, container, *volumes)

    def last_words(self) -> str:
        """What the child said of its failure."""
        _, stderr, status, _ = self._pipes.reading
        return f"{read_some(status)} {read_some(stderr)}".strip()

    def abandon(self) -> None:
        """Close everything; what was made of the child then ends."""
        self._pipes.close()
        self._workspace.close()
        for end in (self._init, self._init_end, self._job, self._job_end):
            end.close()
        for descriptor in self._held:
            os.close(descriptor)
