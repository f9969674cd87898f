"""What this host can and cannot enforce, found out by trying rather than by reading version numbers.

`probe_result`: protocol, python, kernel, architecture, cgroup {layout, controllers, usable}, user_namespaces,
detached_mounts, seccomp, runtimes [{name, path, version}], numerics, max_sandboxes, missing [{capability, detail, remedy}].
"""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import bpf, numerics, runtime, seccomp, syscalls
from .cgroup import Hierarchy, LeafLimits, remove_leaf
from .errors import SandboxError

PROTOCOL_VERSION = 1
Missing = dict[str, str]


def probe(hierarchy: Hierarchy | OSError, max_sandboxes: int) -> dict[str, Any]:
    """Return the facts; `missing` is empty when sandboxes can run."""
    missing: list[Missing] = []

    def check(capability: str, remedy: str, attempt: Callable[[], object]) -> bool:
        try:
            attempt()
            return True
        except (OSError, SandboxError) as error:
            missing.append({"capability": capability, "detail": str(error), "remedy": remedy})
            return False

    usable = check("cgroup", "run as root with the memory, pids and cpu controllers mounted and writable", lambda: _try_leaf(hierarchy))
    return {
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cgroup": {
            "layout": "none" if isinstance(hierarchy, OSError) else hierarchy.layout,
            "controllers": [] if isinstance(hierarchy, OSError) else hierarchy.controllers,
            "usable": usable,
        },
        "user_namespaces": check("user_namespaces", "raise user.max_user_namespaces", _try_user_namespace),
        "detached_mounts": check("detached_mounts", "Linux 5.2 or newer and CAP_SYS_ADMIN", _try_tmpfs),
        "seccomp": check("seccomp", "a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64, and the package libseccomp2", _try_seccomp),
        "runtimes": _runtimes() if check("runtime", "apt-get install crun", _find_any_runtime) else [],
        "numerics": numerics.level(numerics.cpu_flags()),
        "max_sandboxes": max_sandboxes,
        "missing": missing,
    }


def _try_leaf(hierarchy: Hierarchy | OSError) -> None:
    if isinstance(hierarchy, OSError):
        raise hierarchy
    leaf = hierarchy.create(f"probe_{os.getpid()}")
    try:
        leaf.set_limits(LeafLimits(memory_bytes=64 << 20, pids=16))
        leaf.limit_cpu(100)
    finally:
        remove_leaf(leaf, timeout_seconds=1)


def _try_user_namespace() -> None:
    child = os.fork()
    if child == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("the kernel refuses new user namespaces")


def _try_tmpfs() -> None:
    os.close(syscalls.detached_tmpfs({"size": "4096", "nr_inodes": "4"}))


def _try_seccomp() -> None:
    bpf.compile_profile(seccomp.job_profile())
    actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    if not {"errno", "kill_process", "user_notif"} <= set(actions):
        raise OSError(f"seccomp offers only {' '.join(actions)}")


def _runtimes() -> list[dict[str, str]]:
    paths = {name: runtime.locate(name) for name in runtime.SUPPORTED}
    return [_describe(name, path) for name, path in paths.items() if path is not None]


def _find_any_runtime() -> None:
    if not any(map(runtime.locate, runtime.SUPPORTED)):
        raise OSError(f"none of {', '.join(runtime.SUPPORTED)} is installed")


def _describe(name: str, path: str) -> dict[str, str]:
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        output = ""
    words = output.split("\n", 1)[0].split()
    return {"name": name, "path": path, "version": words[-1] if words else "unknown"}
