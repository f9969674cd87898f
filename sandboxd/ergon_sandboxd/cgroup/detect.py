"""Finding out which cgroup layout the host has, from the mount table."""

from pathlib import Path
from typing import NamedTuple

from .interface import Hierarchy
from .v1 import CONTROLLERS, V1Hierarchy
from .v2 import V2Hierarchy


class CgroupMounts(NamedTuple):
    """Where the cgroup file systems are: v1 by controller, v2 if mounted at all."""

    v1: dict[str, Path]
    v2: Path | None

    @property
    def layout(self) -> str:
        """`v1`, `hybrid`, `v2` or `none`."""
        if any(name in self.v1 for name in CONTROLLERS):
            return "hybrid" if self.v2 else "v1"
        return "v2" if self.v2 else "none"


def read_mounts(mountinfo: str | None = None) -> CgroupMounts:
    """Parse /proc/self/mountinfo (or the given text of one)."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        where, kind, options = left.split()[4], right.split()[0], right.split()[-1]
        if kind == "cgroup2":
            v2 = Path(where)
        elif kind == "cgroup":
            v1.update({name: Path(where) for name in options.split(",") if name in CONTROLLERS})
    return CgroupMounts(v1, v2)


def detect_hierarchy(instance: str, mounts: CgroupMounts | None = None) -> Hierarchy:
    """Return the hierarchy this host offers; OSError when controllers are missing."""
    found = mounts or read_mounts()
    if found.layout in ("v1", "hybrid"):
        missing = [name for name in CONTROLLERS if name not in found.v1]
        if missing:
            raise OSError(f"cgroup v1 controllers not mounted: {', '.join(missing)}")
        return V1Hierarchy(found.v1, instance, found.layout)
    if found.v2 is None:
        raise OSError("no cgroup file system is mounted")
    return V2Hierarchy(found.v2, instance)
