"""What the supervisor saw: facts of the kernel and of its own clocks, never a program's word for it."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from .framing import Message

KilledBy = Literal["wall", "cpu", "memory", "stdout", "stderr", "client"]


@dataclass
class Counters:
    """Use of one sandbox; peaks are of the fullest single volume, sampled."""

    wall_ms: int = 0
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    oom_kills: int = 0
    pids_refused: int = 0
    allocation_refused_bytes: int = 0
    network_attempts: int = 0
    disk_peak_bytes: int = 0
    disk_peak_files: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0


@dataclass
class Evidence:
    """Everything a verdict may rest on."""

    exit: dict[str, str | int]
    killed_by: KilledBy | None
    counters: Counters = field(default_factory=Counters)
    truncated: dict[str, bool] = field(default_factory=lambda: {"stdout": False, "stderr": False})
    denied_syscalls: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] | None = None

    def as_message(self) -> Message:
        """Return the protocol's `exit` message."""
        return {"type": "exit", "evidence": {**vars(self), "counters": vars(self.counters)}}


def describe_exit(wait_status: int | None) -> dict[str, str | int]:
    """Translate init's wait status; None means that init itself was killed before it could tell."""
    if wait_status is None:
        return {"kind": "unknown"}
    if os.WIFSIGNALED(wait_status):
        return {"kind": "signaled", "signal": os.WTERMSIG(wait_status)}
    return {"kind": "exited", "code": os.WEXITSTATUS(wait_status)}
