"""What the supervisor needs of a started sandbox, however it was started."""

import select
import time
from typing import Protocol

from .messages import Isolation


class SandboxProcess(Protocol):
    """Our ends of the pipes, and a descriptor that tells when the process that carries the sandbox is gone."""

    pidfd: int
    stdout: int
    stderr: int
    status: int
    report: int
    exit_code: int | None

    @property
    def has_started(self) -> bool:
        """Whether nothing needs more processes any more than the job may have."""

    @property
    def is_limited(self) -> bool:
        """Whether its leaf has the job's own limits, of CPU time too, before it is let begin."""

    def let_job_begin(self) -> None:
        """Let init, which has started, start the job."""

    @property
    def companions(self) -> int:
        """Processes beside the job's own that its leaf holds while it runs."""

    @property
    def companion_bytes(self) -> int:
        """Memory that they take of it."""

    @property
    def isolation(self) -> Isolation:
        """How it was started."""

    @property
    def is_over(self) -> bool:
        """True when it has ended and the job cannot live on without it."""

    def reap(self) -> None:
        """Notice ends."""

    def is_ending(self) -> bool:
        """Whether what carries the job has begun to end: the kernel then kills the job, whose wait status looks like its own doing."""

    def wait_for_end(self, seconds: float) -> None:
        """Sleep for so long, or until what carries the job has ended."""

    def failure(self) -> str:
        """Why it did not start, as far as is known."""

    def check_foundation(self) -> None:
        """SandboxError when the sandbox ended because something it shares with others did."""

    def close(self) -> None:
        """Close every descriptor."""


def has_ended(pidfd: int, seconds: float) -> bool:
    """Wait for at most so long for a process's end."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def sleep_until_end(process: SandboxProcess, seconds: float) -> None:
    """Sleep for so long, or until what carries the job ends; once that is known, the others are waited for."""
    if process.exit_code is None:
        has_ended(process.pidfd, seconds)
    else:
        time.sleep(seconds)
