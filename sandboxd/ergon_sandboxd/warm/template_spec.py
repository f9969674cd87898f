"""The OCI specification of a template's sandbox: what a job's has, without a job's volumes and without masks.

The masks are for the children to place: a nested /proc can only be mounted where the one it hides is whole. A template runs
nothing but libraries of its environment and code of ours. Within its own user namespace it may map uids and enter PID
namespaces, which needs three capabilities; its children have none of them.
"""

import json
from pathlib import Path
from typing import Any, Final

from .. import seccomp
from ..ids import UIDS_PER_SANDBOX
from ..job_environment import fixed_variables
from ..oci_spec import JOB_FILTER, MASKED, NETWORK, NEW_NAMESPACES, READ_ONLY, SHIM_MOUNT, bind

_CAPABILITIES: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN")
_OWN_TMP: Final = ["nosuid", "nodev", "mode=1777", "size=16m", "nr_inodes=1024"]


def build_template_spec(imports: list[str], threads: int, rootfs: Path, shim: Path, first_host_uid: int, max_open_files: int) -> dict[str, Any]:
    """Return config.json."""
    ids = [{"containerID": 0, "hostID": first_host_uid, "size": UIDS_PER_SANDBOX}]
    settings = {"imports": imports, "masked": MASKED, "read_only": READ_ONLY, "filter": f"{SHIM_MOUNT}/{JOB_FILTER}"}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/usr/bin/python3", "-s", "-B", f"{SHIM_MOUNT}/launcher.py", json.dumps(settings)],
            "cwd": "/",
            "env": [f"{name}={value}" for name, value in fixed_variables(threads).items()],
            "capabilities": {
                kind: list(_CAPABILITIES) if kind in ("bounding", "effective", "permitted") else []
                for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
            },
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_NOFILE", "soft": max_open_files, "hard": max_open_files},
                {"type": "RLIMIT_MEMLOCK", "soft": 65536, "hard": 65536},
            ],
            "noNewPrivileges": True,
            "oomScoreAdj": 500,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "hostname": "sandbox",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755", "size=64k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": [*_OWN_TMP, "noexec"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": _OWN_TMP},
            bind(shim, SHIM_MOUNT, "ro"),
        ],
        "linux": {
            "namespaces": [NETWORK, *({"type": kind} for kind in NEW_NAMESPACES)],
            "uidMappings": ids,
            "gidMappings": ids,
            "seccomp": seccomp.template_profile(),
        },
    }
