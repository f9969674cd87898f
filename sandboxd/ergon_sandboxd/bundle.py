"""The folder the runtime reads: specification, attached volumes and the shim, all in a private mount namespace."""

import json
import os
import py_compile
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from . import syscalls
from .oci_spec import SHIM_MOUNT, BundlePaths
from .uplink.addresses import NAME_SERVER
from .workspace import Workspace

SHIM_SOURCE: Final = Path(__file__).resolve().parent.parent / "in_sandbox"
_ATTACH_POINTS: Final = ("rootfs", "workspace", "tmp", "shm", "inputs")


def install_shim(folder: Path) -> None:
    """Copy the in-sandbox files to a folder that any uid can reach, whatever the mode of the installation's path."""
    folder.mkdir(mode=0o755)
    # Where gvisor.py mounts what init gets elsewhere as descriptors.
    (folder / "channels").mkdir(mode=0o700)
    for source in sorted(SHIM_SOURCE.glob("*.py")):
        target = folder / source.name
        shutil.copyfile(source, target)
        target.chmod(0o444)
        # Compiled once: an environment whose Python has the same tag starts each job some milliseconds sooner.
        compiled = folder / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(compiled), f"{SHIM_MOUNT}/{source.name}", True, invalidation_mode=mode)
        compiled.chmod(0o444)


class Bundle:
    """One sandbox's bundle folder."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.folder = folder
        self._shim = shim

    def create(self) -> None:
        """Make the folder."""
        self.folder.mkdir(mode=0o711)
        (self.folder / "runtime").mkdir(mode=0o700)
        for name in _ATTACH_POINTS:
            (self.folder / name).mkdir(mode=0o755)

    def make_uplink_folder(self) -> Path:
        """Make what an uplink needs: the sandbox's name server, and the folder that becomes its process's root."""
        (self.folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        (self.folder / "resolv.conf").chmod(0o444)
        root = self.folder / "uplink"
        root.mkdir(mode=0o755)
        return root

    def create_for_leaf(self, name: str) -> None:
        """Make a folder that only names a leaf, for a sandbox that no runtime reads a specification of; `remove_name` undoes it."""
        self.folder.mkdir(mode=0o711)
        self.name_leaf(name)

    def remove_name(self) -> None:
        """Delete what `create_for_leaf` made."""
        self.forget_leaf()
        os.rmdir(self.folder)

    def name_leaf(self, name: str, number: int | None = None) -> None:
        """Note whose processes to kill, should this handler die; by number too where a name may be used again."""
        file = os.open(self.folder / "leaf", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(file, (name if number is None else f"{name} {number}").encode())
        os.close(file)

    def forget_leaf(self) -> None:
        """Nobody's processes are to be killed any more: from now on the name may be another's."""
        (self.folder / "leaf").unlink(missing_ok=True)

    @property
    def paths(self) -> BundlePaths:
        """Where everything is attached."""
        rootfs, workspace, tmp, shm, inputs = (self.folder / name for name in _ATTACH_POINTS)
        return BundlePaths(rootfs, workspace, tmp, shm, inputs, self._shim, self.folder / "denials", self.folder / "resolv.conf")

    def attach_rootfs(self, rootfs: Path, flags: int = syscalls.MS_NOSUID | syscalls.MS_NODEV) -> None:
        """Bind the environment read-only with these further flags, in a mount namespace that ends before `remove`, as for the volumes."""
        target = str(self.paths.rootfs)
        syscalls.mount(str(rootfs), target, "", syscalls.MS_BIND)
        syscalls.mount("", target, "", syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | flags)

    def attach_volumes(self, workspace: Workspace) -> None:
        """Place a job's own volumes."""
        paths = self.paths
        volumes = (workspace.files, workspace.tmp, workspace.shm, workspace.inputs)
        for volume, path in zip(volumes, (paths.workspace, paths.tmp, paths.shm, paths.inputs), strict=True):
            volume.attach(str(path))

    def write_spec(self, spec: dict[str, Any]) -> None:
        """Write config.json."""
        (self.folder / "config.json").write_text(json.dumps(spec))

    def remove(self) -> None:
        """Delete the folder; nothing when it was never created."""
        # Only empty attach points and our own files are left: a mount would make rmdir fail, never be emptied.
        for name in _ATTACH_POINTS:
            if (self.folder / name).exists():
                os.rmdir(self.folder / name)
        shutil.rmtree(self.folder, ignore_errors=True)
