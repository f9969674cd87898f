"""Finding an environment's root file system and checking that it can be run read-only."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Final

from .errors import SandboxError

# The runtime would create a missing mount point inside the shared root file system.
_MOUNT_POINTS: Final = ("workspace", "tmp", "proc", "dev", "usr/lib/ergon")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_INTERPRETER: Final = "usr/bin/python3"


def find_rootfs(environments: Path, environment: str) -> Path:
    """Return `<environments>/<environment>/rootfs`; SandboxError ENVIRONMENT_NOT_FOUND names what is missing."""
    # Looked at for each sandbox, so by plain strings.
    rootfs = f"{environments}/{environment}/rootfs"
    for folder in (f"{environments}/{environment}", rootfs):
        if not _is_folder(folder):
            raise SandboxError("ENVIRONMENT_NOT_FOUND", f"environment {environment} is not installed")
    for point in _MOUNT_POINTS:
        if not _is_folder(f"{rootfs}/{point}"):
            raise SandboxError("ENVIRONMENT_NOT_FOUND", f"environment {environment} lacks the mount point /{point}")
    if not os.path.lexists(f"{rootfs}/{_INTERPRETER}"):
        raise SandboxError("ENVIRONMENT_NOT_FOUND", f"environment {environment} lacks /{_INTERPRETER}, which init needs")
    return Path(rootfs)


def read_warm_imports(environments: Path, environment: str) -> list[str]:
    """Return what a template of the environment imports, as its lock says; SandboxError when there is no such lock."""
    try:
        found = json.loads((environments / environment / "lock.json").read_text())["warm_imports"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SandboxError("ENVIRONMENT_NOT_FOUND", f"environment {environment} has no readable lock.json: {error}") from error
    if not isinstance(found, list) or not all(isinstance(name, str) and _MODULE.fullmatch(name) for name in found):
        raise SandboxError("ENVIRONMENT_NOT_FOUND", f"environment {environment}: warm_imports of lock.json must be names of modules")
    return found


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
