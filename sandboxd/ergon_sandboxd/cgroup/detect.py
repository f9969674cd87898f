"""Finding out which cgroup layout the host has, from the mount table, and which part of it is ours."""

import os
from pathlib import Path
from typing import NamedTuple

from .interface import Hierarchy
from .v1 import CONTROLLERS, V1Hierarchy
from .v2 import CONTROLLERS as V2_CONTROLLERS
from .v2 import REFUGE, V2Hierarchy, delegate


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


def own_group(text: str | None = None) -> str:
    """Return the caller's v2 group, such as `/user.slice/a.scope`, as it was before sandboxd moved it aside; OSError without one."""
    for line in (Path("/proc/self/cgroup").read_text() if text is None else text).splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(f"/{REFUGE}") or "/"
    raise OSError("this process is in no cgroup v2 group")


def clear_the_top(rootless: bool) -> None:
    """Move processes out of the way of delegation, while the caller still sees them: before it has a PID namespace.

    What goes wrong here is found again, and said, when the hierarchy is tried.
    """
    mounts = read_mounts()
    if mounts.layout != "v2" or mounts.v2 is None:
        return
    try:
        delegate(mounts.v2 / (own_group() if rootless else "").strip("/"))
    except OSError:
        return


def detect_hierarchy(instance: str, mounts: CgroupMounts | None = None, delegated: str | None = None) -> Hierarchy:
    """Return the hierarchy this host offers; OSError when controllers are missing.

    `delegated` is the group that an ordinary user may divide; without it sandboxd is root and divides the top.
    """
    found = mounts or read_mounts()
    if delegated is not None and found.layout != "v2":
        raise OSError(f"only a pure cgroup v2 can be delegated to an ordinary user, this host's layout is {found.layout}")
    if found.layout in ("v1", "hybrid"):
        missing = [name for name in CONTROLLERS if name not in found.v1]
        if missing:
            raise OSError(f"cgroup v1 controllers not mounted: {', '.join(missing)}")
        return V1Hierarchy(found.v1, instance, found.layout)
    if found.v2 is None:
        raise OSError("no cgroup file system is mounted")
    top = found.v2 if delegated is None else found.v2 / delegated.strip("/")
    _check_v2(top, delegated)
    return V2Hierarchy(top, instance)


def _check_v2(top: Path, delegated: str | None) -> None:
    """What `mkdir` and two writes would otherwise say without a reason."""
    offered = (top / "cgroup.controllers").read_text().split()
    missing = [name for name in V2_CONTROLLERS if name not in offered]
    # The three that systemd gives away: making groups, moving processes between them, choosing their controllers.
    closed = [name for name in (".", "cgroup.procs", "cgroup.subtree_control") if not os.access(top / name, os.W_OK)]
    if closed and delegated is not None:
        raise OSError(f"the cgroup {delegated} is not delegated to this user: it may not write to {', '.join(closed)}")
    if closed:
        raise OSError(f"{top} is mounted read-only: sandboxd may not write to {', '.join(closed)}")
    if missing:
        raise OSError(f"the cgroup {delegated or '/'} lacks the controllers {', '.join(missing)}; it has {', '.join(offered) or 'none'}")
