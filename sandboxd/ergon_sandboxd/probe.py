"""What this host can and cannot enforce, found out by trying rather than by reading version numbers.

`probe_result`: protocol, python, kernel, architecture, rootless, cgroup {layout, controllers, usable},
user_namespaces, detached_mounts, seccomp, runtimes [{name, path, version}], numerics, max_sandboxes,
uplink {allowed, networks, lack}, missing [{capability, detail, remedy}].
"""

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import bpf, numerics, runtime, seccomp, syscalls
from .cgroup import Hierarchy, LeafLimits, detect_hierarchy, remove_leaf
from .cgroup.detect import CgroupMounts, own_group
from .config import Config
from .errors import SandboxError
from .ids import id_space, trial_uplink_uid
from .instance import spare_folder
from .uplink import trial

PROTOCOL_VERSION = 1
UPLINK_REMEDY = "start it as root, with Debian's slirp4netns and a kernel with TUN devices: apt-get install slirp4netns"
Missing = dict[str, str]
_CGROUPS = "run as root with the memory, pids and cpu controllers mounted and writable"
_DELEGATION = (
    "start it in a subtree delegated with the memory, pids and cpu controllers: systemd-run --user --scope --property=Delegate=yes, "
    "and Delegate=cpu memory pids in user@.service when a controller is missing"
)


class _Checks:
    """Tries one thing after another and keeps what failed."""

    def __init__(self, missing: list[Missing]) -> None:
        self.missing = list(missing)

    def try_out(self, capability: str, remedy: str, attempt: Callable[[], object]) -> bool:
        try:
            attempt()
            return True
        except (OSError, SandboxError) as error:
            self.missing.append({"capability": capability, "detail": str(error), "remedy": remedy})
            return False


def find_hierarchy(instance: str, config: Config, mounts: CgroupMounts) -> Hierarchy | OSError:
    """Return the groups this sandboxd may make, or why it has none."""
    try:
        return detect_hierarchy(instance, mounts, own_group() if config.rootless else None)
    except OSError as error:
        return error


def essentials(hierarchy: Hierarchy | OSError, config: Config, known: Sequence[Missing] = ()) -> list[Missing]:
    """Try what every sandbox needs, in some milliseconds; return what is missing, beginning with what is `known` to be."""
    checks = _Checks(list(known))
    checks.try_out("cgroup", _DELEGATION if config.rootless else _CGROUPS, lambda: _try_leaf(hierarchy))
    if known:
        # Without what is known to be missing there is no namespace to try the rest in.
        return checks.missing
    checks.try_out("sandbox_ids", "usermod --add-subuids and --add-subgids, or a larger id map of the container", id_space)
    checks.try_out("user_namespaces", "raise user.max_user_namespaces", _try_user_namespace)
    checks.try_out("detached_mounts", "Linux 5.2 or newer and CAP_SYS_ADMIN", _try_tmpfs)
    checks.try_out("seccomp", "a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64, and the package libseccomp2", _try_seccomp)
    checks.try_out("spare_folder", "mkdir /mnt", lambda: spare_folder(config))
    checks.try_out("runtime", "apt-get install crun, or choose another one with --runtime", lambda: runtime.try_out(config.runtime, spare_folder(config)))
    if config.allow_uplink:
        checks.try_out("uplink", UPLINK_REMEDY, lambda: try_uplink(config))
    return checks.missing


def try_uplink(config: Config) -> None:
    """Start an uplink for nobody; OSError says why that is not possible."""
    if config.rootless:
        raise OSError("sandboxd was started by an ordinary user, who cannot start a process in the network that it has left")
    trial.try_out(trial_uplink_uid(), spare_folder(config))


def _lack_of_uplink(config: Config) -> str | None:
    try:
        try_uplink(config)
        return None
    except (OSError, SandboxError) as error:
        return f"{error} ({UPLINK_REMEDY})"


def probe(hierarchy: Hierarchy | OSError, config: Config, known: Sequence[Missing] = ()) -> dict[str, Any]:
    """Return the facts; `missing` is empty when sandboxes can run."""
    missing = essentials(hierarchy, config, known)
    lacking = {entry["capability"] for entry in missing}
    return {
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "rootless": config.rootless,
        "cgroup": {
            "layout": "none" if isinstance(hierarchy, OSError) else hierarchy.layout,
            "controllers": [] if isinstance(hierarchy, OSError) else hierarchy.controllers,
            "usable": "cgroup" not in lacking,
        },
        **{name: name not in lacking for name in ("user_namespaces", "detached_mounts", "seccomp")},
        "runtimes": _runtimes(),
        "numerics": numerics.level(numerics.cpu_flags()),
        "max_sandboxes": config.max_sandboxes,
        "uplink": {"allowed": config.allow_uplink, "networks": list(map(str, config.uplink_networks)), "lack": _lack_of_uplink(config)},
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


def _describe(name: str, path: str) -> dict[str, str]:
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        output = ""
    words = output.split("\n", 1)[0].split()
    return {"name": name, "path": path, "version": words[-1] if words else "unknown"}
