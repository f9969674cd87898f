"""The OCI runtime specification of one sandbox, built here and never taken from a client."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import seccomp
from .ids import id_space
from .job_environment import fixed_variables, numeric_threads, requested_variables
from .limits import Limits
from .messages import ExecEntry, Network, RunRequest, WorkspaceAccess

STATUS_FD: Final = 3
REPORT_FD: Final = 4
SHIM_MOUNT: Final = "/usr/lib/ergon"
# The filter of a job, for those who install it themselves.
JOB_FILTER: Final = "job.bpf"
PASSED_DESCRIPTORS: Final = 2
# crun's own: it loads these bytes instead of translating the rules.
_BPF_ANNOTATION: Final = "run.oci.seccomp_bpf_data"

NEW_NAMESPACES: Final = ("pid", "ipc", "uts", "mount", "user", "cgroup")
# The one the handler has entered: see network.py.
NETWORK: Final = {"type": "network", "path": "/proc/self/ns/net"}
# PID 1 keeps what it needs to become the job's uid; the job itself ends up with none, and cannot signal, trace,
# or reach the descriptors of a process of another uid.
_INIT_CAPABILITIES: Final = ("CAP_SETUID", "CAP_SETGID")
MASKED: Final = [
    *(f"/proc/{name}" for name in ("acpi", "asound", "cmdline", "config.gz", "diskstats", "interrupts", "kallsyms")),
    *(f"/proc/{name}" for name in ("kcore", "key-users", "keys", "kmsg", "latency_stats", "modules", "partitions")),
    *(f"/proc/{name}" for name in ("sched_debug", "scsi", "timer_list", "timer_stats")),
]
READ_ONLY: Final = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@dataclass(frozen=True)
class BundlePaths:
    """Where, in sandboxd's private mount namespace, the parts of one sandbox are attached."""

    rootfs: Path
    workspace: Path
    tmp: Path
    shm: Path
    inputs: Path
    shim: Path
    listener: Path
    name_servers: Path


def bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    """Return a bind mount without set-uid files and devices."""
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", "nosuid", "nodev", *options]}


def _mounts(paths: BundlePaths, workspace: WorkspaceAccess, network: Network) -> list[dict[str, Any]]:
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755", "size=64k"]},
        bind(paths.shm, "/dev/shm", "noexec"),
        bind(paths.tmp, "/tmp"),
        bind(paths.workspace, "/workspace", *(["ro"] if workspace == "read_only" else [])),
        bind(paths.inputs / "code", "/workspace/code", "ro"),
        bind(paths.inputs / "input", "/workspace/input", "ro"),
        bind(paths.shim, SHIM_MOUNT, "ro"),
        # The environment's own name server is dead by address.
        *([bind(paths.name_servers, "/etc/resolv.conf", "ro", "noexec")] if network.level == "uplink" else []),
    ]


def init_arguments(request: RunRequest) -> list[str]:
    """Return init's command line; the job's own variables travel in it because init must not have them itself."""
    added = [f"{name}={value}" for name, value in requested_variables(request.env).items()]
    entry = request.entry
    words = ["exec", entry.cwd, *entry.argv] if isinstance(entry, ExecEntry) else ["python", f"/workspace/{entry.file}"]
    # -s and no -I: isolation would also ignore PYTHONHASHSEED, and init's whole environment is ours anyway. Beside another
    # program, init needs no site-packages, which take half of its start.
    flags = "-s" if words[0] == "python" else "-sS"
    return ["/usr/bin/python3", flags, "-B", f"{SHIM_MOUNT}/init.py", request.seed or "-", str(len(added)), *added, *words]


def resource_limits(limits: Limits, max_open_files: int) -> dict[str, int]:
    """Return the limits of each single process of a job, by the names of setrlimit(2)."""
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits.file_size_bytes,
        "RLIMIT_NOFILE": min(limits.open_files, max_open_files),
        "RLIMIT_MEMLOCK": 65_536,
        # The kernel counts these for whoever made the user namespace, all jobs together.
        "RLIMIT_SIGPENDING": 1024,
        "RLIMIT_MSGQUEUE": 0,
    }


def build_spec(
    request: RunRequest, paths: BundlePaths, first_host_uid: int, max_open_files: int, program: bytes | None = None
) -> dict[str, Any]:
    """Return config.json; `max_open_files` is the host's own hard limit, which a runtime may not exceed.

    `program` is the compiled seccomp profile, for a runtime that takes one instead of the rules.
    """
    limits = request.limits
    ids = [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in id_space().mappings(first_host_uid)]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": init_arguments(request),
            "cwd": "/workspace",
            "env": [f"{name}={value}" for name, value in fixed_variables(numeric_threads(limits.cpu_percent)).items()],
            "capabilities": {
                kind: list(_INIT_CAPABILITIES) if kind in ("bounding", "effective", "permitted") else []
                for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
            },
            "rlimits": [{"type": name, "soft": value, "hard": value} for name, value in resource_limits(limits, max_open_files).items()],
            "noNewPrivileges": True,
            # Below the job's own 1000, so that the kernel kills the job and not the init that reports on it.
            "oomScoreAdj": 500,
        },
        "root": {"path": str(paths.rootfs), "readonly": True},
        "hostname": "sandbox",
        "mounts": _mounts(paths, request.workspace, request.network),
        "linux": {
            "namespaces": [NETWORK, *({"type": kind} for kind in NEW_NAMESPACES)],
            "uidMappings": ids,
            "gidMappings": ids,
            "seccomp": seccomp.profile(paths.listener) if program is None else seccomp.listener_alone(paths.listener),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
        **({} if program is None else {"annotations": {_BPF_ANNOTATION: base64.b64encode(program).decode()}}),
    }
