"""cgroup v1, alone or beside an almost empty v2 (hybrid): a leaf is one folder in each of four controllers."""

import os
from pathlib import Path
from typing import Final

from .files import inode_number, kill_each, read_field, read_number, read_pids, remove_folder, write_text
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
        self._lists = [f"{folder}/cgroup.procs" for folder in dict.fromkeys(folders.values())]

    @property
    def number(self) -> int | None:
        # Made first, and removed last.
        return inode_number(self._folders["memory"])

    @property
    def join_files(self) -> list[str]:
        # Two controllers may share one mount; entering it twice is harmless but slow.
        return list(self._lists)

    def set_limits(self, limits: LeafLimits) -> None:
        memory = self._folders["memory"]
        write_text(f"{memory}/memory.limit_in_bytes", str(limits.memory_bytes))
        for name, value in (("memory.memsw.limit_in_bytes", limits.memory_bytes), ("memory.kmem.tcp.limit_in_bytes", _SOCKET_BYTES)):
            try:
                write_text(f"{memory}/{name}", str(value))
            except FileNotFoundError:
                # A kernel without swap accounting, or without one for sockets.
                continue
        write_text(f"{self._folders['pids']}/pids.max", str(limits.pids))

    def limit_cpu(self, percent: int) -> None:
        cpu = self._folders["cpu"]
        write_text(f"{cpu}/cpu.cfs_period_us", str(_PERIOD_MICROSECONDS))
        write_text(f"{cpu}/cpu.cfs_quota_us", str(max(1000, percent * _PERIOD_MICROSECONDS // 100)))

    def cpu_ms(self) -> int:
        return read_number(f"{self._folders['cpuacct']}/cpuacct.usage") // 1_000_000

    def memory_bytes(self) -> int:
        return read_number(self._folders["memory"] / "memory.usage_in_bytes")

    def memory_peak_bytes(self) -> int:
        return read_number(f"{self._folders['memory']}/memory.max_usage_in_bytes")

    def oom_kills(self) -> int:
        return read_field(f"{self._folders['memory']}/memory.oom_control", "oom_kill")

    def pids_refused(self) -> int:
        return read_field(f"{self._folders['pids']}/pids.events", "max")

    def processes(self) -> list[int]:
        # A process that was killed while it joined may sit in some controllers only.
        return sorted({pid for file in self._lists for pid in read_pids(file)})

    def is_empty(self) -> bool:
        return not any(map(read_pids, self._lists))

    def kill(self) -> None:
        # v1 has no atomic kill: without the zero, a fork bomb can outrun the loop.
        try:
            write_text(f"{self._folders['pids']}/pids.max", "0")
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
