"""What belongs to one running sandboxd on a machine that may run several: its name, lock, uid range and state folder."""

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

UIDS_PER_SANDBOX: Final = 65_536
_SLOTS_PER_INSTANCE: Final = 64
TEMPLATES_PER_INSTANCE: Final = 32
_FIRST_HOST_UID: Final = 1 << 30
_FIRST_TEMPLATE_UID: Final = 1 << 29
_LOCK_PATIENCE_SECONDS: Final = 3.0
STOP_PATIENCE_SECONDS: Final = 10.0
_REMOVE_PATIENCE_SECONDS: Final = 0.5


def instance_name(socket: Path) -> str:
    """Name an instance after its socket: two of them never sweep each other's cgroups."""
    return hashlib.sha256(os.fsencode(os.path.realpath(socket))).hexdigest()[:16]


def host_uid(instance: str, slot: int) -> int:
    """Return the first host uid of a slot's range; ranges of concurrently running sandboxes never overlap."""
    return _FIRST_HOST_UID + (int(instance[:2], 16) * _SLOTS_PER_INSTANCE + slot) * UIDS_PER_SANDBOX


def template_uid(instance: str, number: int) -> int:
    """Return the first host uid of a template's range, from which each of its jobs gets two."""
    return _FIRST_TEMPLATE_UID + (int(instance[:2], 16) * TEMPLATES_PER_INSTANCE + number) * UIDS_PER_SANDBOX


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


class State:
    """The private tmpfs that holds bundles and runtime state; it is on no other process's mount table."""

    def __init__(self, instance: str) -> None:
        # Below /run and open for traversal: a runtime in a user namespace cannot enter a 0700 home.
        self.folder = Path("/run/ergon-sandboxd") / instance

    def mount(self) -> None:
        """Mount it, empty."""
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
        name = (folder / "leaf").read_text()
    except FileNotFoundError:
        name = ""
    if name:
        remove_by_name(hierarchy, name)
    shutil.rmtree(folder, ignore_errors=True)
