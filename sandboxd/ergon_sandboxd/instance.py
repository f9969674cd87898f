"""What belongs to one running sandboxd on a machine that may run several: its name, lock and state folder."""

import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

from . import syscalls
from .cgroup import Hierarchy, kill_until_empty, remove_leaf
from .config import Config
from .ids import id_space

_LOCK_PATIENCE_SECONDS: Final = 3.0
STOP_PATIENCE_SECONDS: Final = 10.0
_REMOVE_PATIENCE_SECONDS: Final = 0.5


def instance_name(socket: Path) -> str:
    """Name an instance after its socket: two of them never sweep each other's cgroups."""
    return hashlib.sha256(os.fsencode(os.path.realpath(socket))).hexdigest()[:16]


def host_uid(instance: str, slot: int) -> int:
    """Return the uid of a slot's root, the job's being JOB_UID higher; no two sandboxes that run at once share one."""
    return id_space().root_of(instance, slot)


def take_lock(config: Config, instance: str) -> int:
    """Return the locked descriptor that makes this instance unique; BlockingIOError when another one runs."""
    lock = os.open(config.home / f"sandboxd-{instance}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            # A predecessor that was just killed holds its lock until the kernel has ended its last process.
            if time.monotonic() > deadline:
                os.close(lock)
                raise
            time.sleep(0.05)


# Folders that every Linux has and no program needs while it runs, for those who may not make one below /run.
_SPARE_FOLDERS: Final = ("/mnt", "/media", "/srv", "/opt", "/boot")


def spare_folder(config: Config) -> Path:
    """Return a folder that may be covered in a private mount namespace; OSError when each is away or in use."""
    needed = [Path(os.path.realpath(path)) for path in (config.home, config.environments, config.socket, Path(__file__))]
    for spare in map(Path, _SPARE_FOLDERS):
        if spare.is_dir() and not any(path.is_relative_to(spare) for path in needed):
            return spare
    raise OSError(f"none of {', '.join(_SPARE_FOLDERS)} is there and unused, and sandboxd needs one to cover")


def state_folder(config: Config, instance: str) -> Path:
    """Return where to mount the state; OSError when an ordinary user has no place for it.

    Every folder above must let any uid pass, because a runtime in a user namespace has one of its own: a home of mode
    0700 will not do.
    """
    return spare_folder(config) if config.rootless else Path("/run/ergon-sandboxd") / instance


class State:
    """The private tmpfs that holds bundles and runtime state; it is on no other process's mount table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_spare = str(folder) in _SPARE_FOLDERS

    def mount(self) -> None:
        """Mount it, empty."""
        if not self._is_spare:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        syscalls.mount("tmpfs", str(self.folder), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0711,size=64m")
        for name in ("run", "places", "warm"):
            (self.folder / name).mkdir(mode=0o711)

    def slot_folder(self, slot: int) -> Path:
        """The folder of one connection's bundle."""
        return self.folder / "run" / str(slot)

    def unmount(self) -> None:
        """Remove everything, on disk too."""
        syscalls.unmount(str(self.folder))
        if self._is_spare:
            return
        for folder in (self.folder, self.folder.parent):
            try:
                folder.rmdir()
            except OSError:
                return


def sweep(hierarchy: Hierarchy) -> None:
    """Kill and remove every leaf that a predecessor left behind."""
    for name in hierarchy.leftovers():
        remove_by_name(hierarchy, name)


def remove_by_name(hierarchy: Hierarchy, name: str) -> None:
    """Kill what is in a leaf and remove it; OSError when a process survives SIGKILL."""
    leaf, deadline = hierarchy.open(name), time.monotonic() + STOP_PATIENCE_SECONDS
    # Again and again: a runtime whose handler has just died may be on its way into the leaf, and fails when that is gone.
    while not kill_until_empty(leaf, STOP_PATIENCE_SECONDS) or not remove_leaf(leaf, _REMOVE_PATIENCE_SECONDS):
        if time.monotonic() > deadline:
            raise OSError(f"cgroup leaf {name} cannot be emptied: {leaf.processes()}")


def clean_slot(state: State, hierarchy: Hierarchy, slot: int) -> None:
    """Remove what a handler that died left: processes, leaf and bundle. Its mounts went with its mount namespace."""
    folder = state.slot_folder(slot)
    try:
        name, _, number = (folder / "leaf").read_text().partition(" ")
    except FileNotFoundError:
        name = number = ""
    # Without the number, one of a sandbox that was started under the same id since the handler removed its own.
    if name and (not number or hierarchy.open(name).number == int(number)):
        remove_by_name(hierarchy, name)
    shutil.rmtree(folder, ignore_errors=True)
