"""cgroup v1, alone or beside an almost empty v2 (hybrid): a leaf is one folder in each of four controllers."""

import os
from pathlib import Path
from typing import Final

from .files import kill_each, read_field, read_number, read_pids, remove_folder
from .interface import LeafLimits

CONTROLLERS: Final = ("memory", "pids", "cpu", "cpuacct")
_PERIOD_MICROSECONDS: Final = 100_000
# v1 counts network buffers apart from memory, and without a limit not at all: over its own loopback a job could take
# gigabytes, and of a quota that the whole host shares.
_SOCKET_BYTES: Final = 16 << 20


class V1Leaf:
    """One sandbox's folders in the v1 controllers."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    @property
    def join_files(self) -> list[str]:
        # Two controllers may share one mount; entering it twice is harmless but slow.
        return [str(folder / "cgroup.procs") for folder in dict.fromkeys(self._folders.values())]

    def set_limits(self, limits: LeafLimits) -> None:
        memory = self._folders["memory"]
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        swap = memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(limits.memory_bytes))
        sockets = memory / "memory.kmem.tcp.limit_in_bytes"
        if sockets.exists():
            sockets.write_text(str(_SOCKET_BYTES))
        (self._folders["pids"] / "pids.max").write_text(str(limits.pids))

    def limit_cpu(self, percent: int) -> None:
        cpu = self._folders["cpu"]
        (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
        (cpu / "cpu.cfs_quota_us").write_text(str(max(1000, percent * _PERIOD_MICROSECONDS // 100)))

    def cpu_ms(self) -> int:
        return read_number(self._folders["cpuacct"] / "cpuacct.usage") // 1_000_000

    def memory_bytes(self) -> int:
        return read_number(self._folders["memory"] / "memory.usage_in_bytes")

    def memory_peak_bytes(self) -> int:
        return read_number(self._folders["memory"] / "memory.max_usage_in_bytes")

    def oom_kills(self) -> int:
        return read_field(self._folders["memory"] / "memory.oom_control", "oom_kill")

    def pids_refused(self) -> int:
        return read_field(self._folders["pids"] / "pids.events", "max")

    def processes(self) -> list[int]:
        # A process that was killed while it joined may sit in some controllers only.
        return sorted({pid for folder in self._folders.values() for pid in read_pids(folder / "cgroup.procs")})

    def kill(self) -> None:
        # v1 has no atomic kill: without the zero, a fork bomb can outrun the loop.
        try:
            (self._folders["pids"] / "pids.max").write_text("0")
        except FileNotFoundError:
            pass
        kill_each(self.processes())

    def remove(self) -> None:
        for folder in reversed(list(dict.fromkeys(self._folders.values()))):
            remove_folder(folder)


class V1Hierarchy:
    """`<controller>/ergon/<instance>` in each controller."""

    def __init__(self, mounts: dict[str, Path], instance: str, layout: str) -> None:
        self.layout = layout
        self.controllers = list(CONTROLLERS)
        self._bases = {name: mounts[name] / "ergon" / instance for name in CONTROLLERS}

    def _folders(self, name: str) -> dict[str, Path]:
        return {controller: base / name for controller, base in self._bases.items()}

    def create(self, name: str) -> V1Leaf:
        folders = self._folders(name)
        made: list[Path] = []
        try:
            for folder in dict.fromkeys(folders.values()):
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
                made.append(folder)
        except OSError:
            for folder in made:
                remove_folder(folder)
            raise
        return V1Leaf(folders)

    def open(self, name: str) -> V1Leaf:
        return V1Leaf(self._folders(name))

    def leftovers(self) -> list[str]:
        found: set[str] = set()
        for base in self._bases.values():
            if base.is_dir():
                found |= {entry.name for entry in os.scandir(base) if entry.is_dir(follow_symlinks=False)}
        return sorted(found)

    def remove(self) -> None:
        for base in self._bases.values():
            for folder in (base, base.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break
