"""Reading and writing the small text files of a cgroup."""

import os
import signal
from pathlib import Path


def read_number(path: Path, missing: int = 0) -> int:
    """Return the one number in a file, or `missing` when the file is gone or holds none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return missing


def read_field(path: Path, field: str, missing: int = 0) -> int:
    """Return the number after `field` in a file of `name value` lines."""
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == field:
                return int(value)
    except (OSError, ValueError):
        pass
    return missing


def read_pids(path: Path) -> list[int]:
    """Return the process ids listed in a file; none when the group is gone."""
    try:
        # 0 stands for a process outside our pid namespace: we can neither see nor signal it.
        return [pid for pid in map(int, path.read_text().split()) if pid > 0]
    except (OSError, ValueError):
        return []


def kill_each(pids: list[int]) -> None:
    """SIGKILL each process; those that are gone already are no error."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def remove_folder(path: Path) -> None:
    """Remove a group that may be gone already; OSError when it is still in use."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return
