"""What the rest of sandboxd may ask of a cgroup, whatever the kernel's layout."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LeafLimits:
    """What the kernel enforces for one sandbox from its first process on."""

    memory_bytes: int
    pids: int


class Leaf(Protocol):
    """The group that holds every process of one sandbox and nothing else."""

    @property
    def number(self) -> int | None:
        """What tells it from others that have its name before or after it; None when there is none."""

    @property
    def join_files(self) -> list[str]:
        """The files a process writes "0" to in order to enter the group."""

    def set_limits(self, limits: LeafLimits) -> None:
        """Enforce memory (without swap) and pids; OSError when the kernel refuses."""

    def limit_cpu(self, percent: int) -> None:
        """Enforce a share of CPU time, 100 being one core; OSError when the kernel refuses."""

    def cpu_ms(self) -> int:
        """CPU time used by all processes so far, in milliseconds."""

    def memory_bytes(self) -> int:
        """Memory charged now."""

    def memory_peak_bytes(self) -> int:
        """The most memory charged at once, tmpfs pages included."""

    def oom_kills(self) -> int:
        """How many processes the kernel killed for memory."""

    def pids_refused(self) -> int:
        """How many forks and threads the kernel refused."""

    def processes(self) -> list[int]:
        """The live processes of the group."""

    def is_empty(self) -> bool:
        """Whether it has none."""

    def kill(self) -> None:
        """Send SIGKILL to everything in the group once and refuse new processes."""

    def remove(self) -> None:
        """Remove the empty group; OSError while a process is still leaving."""


class Hierarchy(Protocol):
    """The folder of groups that one sandboxd owns."""

    @property
    def layout(self) -> str:
        """`v1`, `hybrid` or `v2`."""

    @property
    def controllers(self) -> list[str]:
        """The controllers in use."""

    def create(self, name: str) -> Leaf:
        """Make a new leaf; FileExistsError when the name is taken."""

    def open(self, name: str) -> Leaf:
        """Return a leaf that may or may not exist, for clean-up."""

    def leftovers(self) -> list[str]:
        """Names of the leaves that exist."""

    def remove(self) -> None:
        """Remove the folder itself when it is empty."""


def kill_until_empty(
    leaf: Leaf, timeout_seconds: float, between: Callable[[], object] = lambda: None, wait: Callable[[float], object] = time.sleep,
) -> bool:
    """Kill until no process is left; False when some survive the timeout (uninterruptible in the kernel).

    `between` runs after each round: the caller reaps its own children there, or they would stay listed. `wait` sleeps for so
    many seconds, or less when it knows that a process has ended.
    """
    deadline, pause = time.monotonic() + timeout_seconds, 0.0003
    while True:
        between()
        if leaf.is_empty():
            return True
        if time.monotonic() > deadline:
            return False
        leaf.kill()
        wait(pause)
        pause = min(pause * 1.5, 0.02)


def remove_leaf(leaf: Leaf, timeout_seconds: float) -> bool:
    """Remove an emptied leaf, waiting for exiting processes to be accounted for; False on timeout."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            leaf.remove()
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
