"""cgroup v2: a leaf is one folder, and the kernel kills it in one write."""

import errno
import os
from pathlib import Path
from typing import Final

from .files import inode_number, kill_each, read_field, read_number, read_pids, remove_folder
from .interface import LeafLimits

CONTROLLERS: Final = ("memory", "pids", "cpu")
_PERIOD_MICROSECONDS: Final = 100_000
# Where processes go that stand in the way of delegation.
REFUGE: Final = "ergon-supervisor"
_MOVE_ROUNDS: Final = 10


class V2Leaf:
    """One sandbox's folder in the unified hierarchy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._peak_seen = 0

    @property
    def number(self) -> int | None:
        return inode_number(self._folder)

    @property
    def join_files(self) -> list[str]:
        return [str(self._folder / "cgroup.procs")]

    def set_limits(self, limits: LeafLimits) -> None:
        (self._folder / "memory.max").write_text(str(limits.memory_bytes))
        swap = self._folder / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        (self._folder / "pids.max").write_text(str(limits.pids))

    def limit_cpu(self, percent: int) -> None:
        quota = max(1000, percent * _PERIOD_MICROSECONDS // 100)
        (self._folder / "cpu.max").write_text(f"{quota} {_PERIOD_MICROSECONDS}")

    def cpu_ms(self) -> int:
        return read_field(self._folder / "cpu.stat", "usage_usec") // 1000

    def memory_bytes(self) -> int:
        return read_number(self._folder / "memory.current")

    def memory_peak_bytes(self) -> int:
        # memory.peak came with Linux 5.19; before that the largest sample has to do.
        self._peak_seen = max(self._peak_seen, read_number(self._folder / "memory.current"))
        return max(self._peak_seen, read_number(self._folder / "memory.peak"))

    def oom_kills(self) -> int:
        return read_field(self._folder / "memory.events", "oom_kill")

    def pids_refused(self) -> int:
        return read_field(self._folder / "pids.events", "max")

    def processes(self) -> list[int]:
        return read_pids(self._folder / "cgroup.procs")

    def is_empty(self) -> bool:
        return not self.processes()

    def kill(self) -> None:
        # cgroup.kill came with Linux 5.14; the loop over processes is for older kernels.
        killer = self._folder / "cgroup.kill"
        if killer.exists():
            killer.write_text("1")
            return
        limit = self._folder / "pids.max"
        if limit.exists():
            limit.write_text("0")
        kill_each(self.processes())

    def remove(self) -> None:
        remove_folder(self._folder)


def delegate(folder: Path) -> None:
    """Hand the controllers of a group on to its children, moving processes out of the way; OSError when that fails.

    Only processes of the caller's PID namespace can be moved.
    """
    control = folder / "cgroup.subtree_control"
    missing = [name for name in CONTROLLERS if name not in control.read_text().split()]
    if not missing:
        return
    for _ in range(_MOVE_ROUNDS):
        try:
            control.write_text(" ".join(f"+{name}" for name in missing))
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        # Inside a container or a delegated unit the top holds processes, and a group with processes
        # cannot delegate: they move to a leaf of their own. One that forks meanwhile needs another round.
        _move_aside(folder)
    raise OSError(errno.EBUSY, f"processes that sandboxd cannot move stay in {folder}, so it cannot delegate")


def _move_aside(folder: Path) -> None:
    refuge = folder / REFUGE
    refuge.mkdir(exist_ok=True)
    for pid in read_pids(folder / "cgroup.procs"):
        try:
            (refuge / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            continue


class V2Hierarchy:
    """`ergon/<instance>` below the top of what sandboxd may divide: the root of the hierarchy, or a delegated group."""

    layout = "v2"

    def __init__(self, top: Path, instance: str) -> None:
        self.controllers = list(CONTROLLERS)
        self._top = top
        self._base = top / "ergon" / instance
        self._prepared = False

    def _prepare(self) -> None:
        if self._prepared:
            return
        self._base.mkdir(parents=True, exist_ok=True)
        for folder in (self._top, self._base.parent, self._base):
            delegate(folder)
        self._prepared = True

    def create(self, name: str) -> V2Leaf:
        self._prepare()
        (self._base / name).mkdir()
        return V2Leaf(self._base / name)

    def open(self, name: str) -> V2Leaf:
        return V2Leaf(self._base / name)

    def leftovers(self) -> list[str]:
        if not self._base.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self._base) if entry.is_dir(follow_symlinks=False))

    def remove(self) -> None:
        for folder in (self._base, self._base.parent):
            try:
                folder.rmdir()
            except OSError:
                return
