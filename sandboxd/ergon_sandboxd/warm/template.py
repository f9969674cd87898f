"""One template: its container, and the making of children that are ready for a job."""

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..cgroup import Hierarchy, Leaf, LeafLimits, kill_until_empty, remove_leaf
from ..errors import SandboxError
from ..ids import UIDS_PER_SANDBOX
from ..instance import STOP_PATIENCE_SECONDS
from ..runtime import Pipes, RuntimeProcess, launch
from ..workspace import Workspace
from .conversation import TemplateFailed, await_word, read_some, speaking_pair
from .delivery import Delivery
from .ready_child import ReadyChild

# The start of an interpreter and the import of everything, on a slow and busy machine.
_START_SECONDS: Final = 120.0
# A template holds what its libraries hold; one that grows beyond is a leak, and the kernel ends it.
MEMORY_BYTES: Final = 2 << 30
_PIDS: Final = 4096
# Uids of a job and its init, above those that mean something inside an environment.
_FIRST_CHILD_UID: Final = 2000


@dataclass(frozen=True)
class Place:
    """Where a template's children live."""

    hierarchy: Hierarchy
    prefix: str
    range: int
    first_host_uid: int


class Template:
    """A started container; its methods raise TemplateFailed when it is of no more use."""

    def __init__(self, process: RuntimeProcess, launcher: socket.socket, leaf: Leaf, place: Place) -> None:
        self._process = process
        self._leaf = leaf
        self.place = place
        # Two processes answer: the launcher, PID 1 of the container, and the template proper, its child.
        self._launcher = launcher
        self._template: socket.socket | None = None
        self._launcher_pidfd: int | None = None
        self._template_pidfd: int | None = None
        self.children = 0

    @staticmethod
    def start(executable: str, command: list[str], leaf: Leaf, place: Place, bundle: Path) -> "Template":
        """Start the runtime in its leaf, with a control socket where a job has its report."""
        leaf.set_limits(LeafLimits(MEMORY_BYTES, _PIDS))
        pipes = Pipes.open()
        ours, theirs = speaking_pair()
        os.close(pipes.writing.pop())
        pipes.writing.append(theirs.detach())
        process = launch(executable, command, leaf, pipes, bundle, place.first_host_uid)
        # Its init is the launcher, which begins by itself.
        process.let_job_begin()
        return Template(process, ours, leaf, place)

    def wait_until_warm(self) -> None:
        """Until its imports are done."""
        hello = await_word(self._launcher, b"template")
        if hello.descriptor is None:
            raise TemplateFailed("it sent no socket of the template")
        self._launcher_pidfd = os.pidfd_open(hello.pid)
        self._template = socket.socket(fileno=hello.descriptor)
        self._template.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._template_pidfd = os.pidfd_open(await_word(self._template, b"ready", _START_SECONDS).pid)

    @property
    def watched(self) -> tuple[int, int]:
        """Descriptors of which one becomes readable when launcher or template have ended."""
        if self._launcher_pidfd is None or self._template_pidfd is None:
            raise TemplateFailed("not warm yet")
        return (self._launcher_pidfd, self._template_pidfd)

    def begin_child(self) -> Delivery:
        """Begin to make a child in a leaf of its own; it is the caller's to advance, and then to `complete` or `abandon`."""
        if self._template is None:
            raise TemplateFailed("not warm yet")
        number = self.children
        self.children += 1
        name = f"{self.place.prefix}_{number}"
        first_uid = _FIRST_CHILD_UID + 2 * number
        if first_uid + 1 >= UIDS_PER_SANDBOX:
            raise TemplateFailed(f"its range of uids is used up after {number} children")
        try:
            leaf = self.place.hierarchy.create(name)
            workspace = Workspace.make_ahead(self.place.first_host_uid + first_uid + 1)
            delivery = Delivery(name, self._launcher, self._template, leaf, workspace, number, first_uid)
        except (OSError, SandboxError) as error:
            raise TemplateFailed(str(error)) from error
        try:
            delivery.begin()
        except (OSError, TemplateFailed) as error:
            raise TemplateFailed(self.abandon(delivery, error)) from error
        return delivery

    def complete(self, delivery: Delivery) -> ReadyChild:
        """Return the child that only a job is missing of."""
        if self._launcher_pidfd is None:
            raise TemplateFailed("not warm yet")
        return delivery.as_ready(os.dup(self._launcher_pidfd))

    def abandon(self, delivery: Delivery, error: Exception) -> str:
        """Undo what was made of a child, and return why it came to nothing."""
        reason = f"{error}; {self.last_words()} {delivery.last_words()}"
        delivery.abandon()
        discard_leaf(delivery.leaf)
        return reason

    def last_words(self) -> str:
        """What the container has printed, shortened."""
        return " ".join([read_some(self._process.stderr), self._process.failure()])

    def reap(self) -> None:
        """Collect a runtime that has handed the container to us and ended."""
        self._process.reap()

    def memory_bytes(self) -> int:
        """What the template holds; its children are charged to leaves of their own."""
        return self._leaf.memory_bytes()

    def retire(self) -> None:
        """Fork no more; the container ends by itself after its last child."""
        self._launcher.close()
        if self._template is not None:
            self._template.close()
        if self._template_pidfd is not None:
            # It may hang. The launcher, which the children live under, is left alone.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._template_pidfd, signal.SIGKILL)

    @property
    def is_over(self) -> bool:
        """True when the container and all its children are gone."""
        self._process.reap()
        return self._leaf.is_empty()

    def remove(self) -> None:
        """Kill what is left, children included, and remove the leaf."""
        self.retire()
        discard_leaf(self._leaf, self._process)
        self._process.close()
        for descriptor in (self._launcher_pidfd, self._template_pidfd):
            if descriptor is not None:
                os.close(descriptor)


def discard_leaf(leaf: Leaf, process: RuntimeProcess | None = None) -> None:
    """Kill everything in a leaf and remove it; OSError when the kernel cannot."""
    emptied = kill_until_empty(leaf, STOP_PATIENCE_SECONDS, between=(lambda: None) if process is None else process.reap)
    if not emptied or not remove_leaf(leaf, STOP_PATIENCE_SECONDS):
        raise OSError("a template's cgroup leaf cannot be removed")
