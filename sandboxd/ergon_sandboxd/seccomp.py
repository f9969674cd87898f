"""The system calls a job may make: everything else is refused with EPERM, foreign architectures are killed.

Of what is refused, calls that only an attempt to break out makes are notified, so that denials.py refuses and counts them.
So is an allocation that the whole machine could not hold: the kernel refuses it before a page is charged, so that no counter
of the cgroup tells of it. What libraries try on their own account (inotify, memory policies, netlink routes, clone3) is refused without being counted.
"""

import json
import platform
from pathlib import Path
from typing import Any, Final

_ARCHITECTURES: Final[dict[str, str]] = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# Read once: an update of the files must not mix with code that runs.
_ALLOWED: Final[list[str]] = json.loads(Path(__file__).with_name("seccomp_allowed.json").read_text())
# Number by architecture; those named in _NARROWED are notified for some arguments only.
_COUNTED: Final[dict[str, dict[str, int]]] = json.loads(Path(__file__).with_name("seccomp_counted.json").read_text())
_NARROWED: Final = frozenset({"clone", "mknod", "mknodat", "mmap", "socket"})
# Beyond what is counted, what making a sandbox needs.
_SETUP: Final = ("capset",)
_EPERM, _ENOSYS = 1, 38
# NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_NAMESPACE_FLAGS: Final = 0x7E020000
# A child of the caller's parent: of init, or of the launcher of a warm template, which both read wait statuses.
_CLONE_PARENT: Final = 0x8000
# Without it no other flag would be granted either, and each rule costs every start some time.
_NEW_USER_FLAG: Final = 0x10000000
_S_IFMT, _S_IFIFO, _S_IFCHR, _S_IFBLK = 0o170000, 0o010000, 0o020000, 0o060000
# Addresses that lead nowhere outside: a network namespace does not isolate AF_VSOCK, and AF_ALG, AF_NETLINK and
# AF_PACKET are kernel parsers no job needs.
_AF_UNIX: Final = 1
_INTERNET_DOMAINS: Final = {"AF_INET": 2, "AF_INET6": 10}
# Type and protocol (0 is the type's own): any other makes the kernel load the host's module for it, SCTP's for instance.
_INTERNET_PROTOCOLS: Final = ((1, 0), (1, 6), (2, 0), (2, 17))
_SOCKET_TYPE_MASK: Final = 0xF
_SOCK_RAW: Final = 3
# The C library asks for a netlink socket of protocol 0 (routes) to sort the addresses of localhost: no attempt at anything.
_AF_NETLINK, _NETLINK_ROUTE = 16, 0
# Huge pages come from a pool of the host that no memory limit of the job counts.
_MAP_HUGETLB, _MFD_HUGETLB = 0x40000, 0x4
_PROT_WRITE, _MAP_SHARED, _MAP_NORESERVE = 0x2, 0x1, 0x4000
_OVERCOMMIT_ALWAYS: Final = "1"
# Counted not as an attempt to break out but by its size.
ALLOCATION: Final = "mmap"
# Every command but F_NOTIFY: like inotify, it would tell a job which files of the shared environment others use.
_FCNTL_COMMANDS: Final = (*range(12), 15, 16, 17, *range(36, 39), 1024, 1025, *range(1027, 1042))
_COMMAND_MASK: Final = 0xFFFFFFFF


def _argument(index: int, value: int, mask: int | None = None, op: str = "SCMP_CMP_EQ") -> dict[str, Any]:
    if mask is None:
        return {"index": index, "value": value, "op": op}
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _allow(name: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def _count(name: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_NOTIFY", "args": list(arguments)}


def _machine_memory() -> int | None:
    """Return the bytes beyond which the kernel refuses one allocation; None where it refuses none."""
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == _OVERCOMMIT_ALWAYS:
        return None
    found = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(found[name].split()[0]) for name in ("MemTotal", "SwapTotal")) * 1024


_MACHINE_MEMORY: Final = _machine_memory()


def _mmap_rules(largest: int | None) -> list[dict[str, Any]]:
    """Count what the kernel would charge and cannot give: private, writable, not reserved without backing."""
    if largest is None:
        return [_allow("mmap", _argument(3, 0, mask=_MAP_HUGETLB))]
    within, beyond = _argument(1, largest, op="SCMP_CMP_LE"), _argument(1, largest, op="SCMP_CMP_GT")
    kinds = _MAP_HUGETLB | _MAP_NORESERVE | _MAP_SHARED
    charged = _argument(3, 0, mask=kinds)
    return [
        _allow("mmap", within, _argument(3, 0, mask=_MAP_HUGETLB)),
        *(_allow("mmap", beyond, _argument(3, kind, mask=kinds)) for kind in (_MAP_NORESERVE, _MAP_SHARED, _MAP_NORESERVE | _MAP_SHARED)),
        _allow("mmap", beyond, _argument(2, 0, mask=_PROT_WRITE), charged),
        _count("mmap", beyond, _argument(2, _PROT_WRITE, mask=_PROT_WRITE), charged),
    ]


def _counted(machine: str) -> list[dict[str, Any]]:
    plain = [name for name, numbers in _COUNTED.items() if machine in numbers and name not in _NARROWED]
    return [
        {"names": plain, "action": "SCMP_ACT_NOTIFY"},
        _count("clone", _argument(0, _NEW_USER_FLAG, mask=_NEW_USER_FLAG)),
        *(_count("mknod", _argument(1, kind, mask=_S_IFMT)) for kind in (_S_IFCHR, _S_IFBLK)),
        *(_count("mknodat", _argument(2, kind, mask=_S_IFMT)) for kind in (_S_IFCHR, _S_IFBLK)),
        *(_count("socket", _argument(0, domain), _argument(1, _SOCK_RAW, mask=_SOCKET_TYPE_MASK)) for domain in _INTERNET_DOMAINS.values()),
        _count("socket", _argument(0, _AF_NETLINK), _argument(2, _NETLINK_ROUTE, op="SCMP_CMP_NE")),
        _count("socket", _argument(0, _AF_NETLINK, op="SCMP_CMP_GT")),
    ]


def name_of(number: int) -> str:
    """Return the name of a counted system call of this machine's architecture."""
    machine = platform.machine()
    return next((name for name, numbers in _COUNTED.items() if numbers.get(machine) == number), f"syscall_{number}")


def _allowed() -> list[dict[str, Any]]:
    """What a job may call; no rule here overlaps with one of `_counted`."""
    return [
        {"names": _ALLOWED, "action": "SCMP_ACT_ALLOW"},
        _allow("clone", _argument(0, 0, mask=_NAMESPACE_FLAGS | _CLONE_PARENT)),
        # glibc falls back to clone, whose flags can be inspected, only when clone3 does not exist.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        _allow("socket", _argument(0, _AF_UNIX)),
        *(
            _allow("socket", _argument(0, domain), _argument(1, kind, mask=_SOCKET_TYPE_MASK), _argument(2, protocol))
            for domain in _INTERNET_DOMAINS.values()
            for kind, protocol in _INTERNET_PROTOCOLS
        ),
        _allow("socketpair", _argument(0, _AF_UNIX)),
        _allow("memfd_create", _argument(1, 0, mask=_MFD_HUGETLB)),
        *(_allow("fcntl", _argument(1, command, mask=_COMMAND_MASK)) for command in _FCNTL_COMMANDS),
        _allow("personality", _argument(0, 0)),
        # FIFOs are ordinary inter-process plumbing; device nodes stay refused.
        _allow("mknod", _argument(1, _S_IFIFO, mask=_S_IFMT)),
        _allow("mknodat", _argument(2, _S_IFIFO, mask=_S_IFMT)),
    ]


def _profile(rules: list[dict[str, Any]]) -> dict[str, Any]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no seccomp profile for the architecture {machine}")
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": _EPERM, "architectures": [_ARCHITECTURES[machine]], "syscalls": rules}


def job_profile() -> dict[str, Any]:
    """Return the profile of a job for this machine's architecture; OSError when there is none."""
    return _profile([*_counted(platform.machine()), *_allowed(), *_mmap_rules(_MACHINE_MEMORY)])


def profile(listener: Path) -> dict[str, Any]:
    """Return the seccomp section of an OCI specification.

    The runtime hands the descriptor of the notified calls to the unix socket `listener`.
    """
    return {**job_profile(), "listenerPath": str(listener)}


def listener_alone(listener: Path) -> dict[str, Any]:
    """Return the section beside a compiled program: a runtime that overlooks the program refuses every call."""
    return {**_profile([]), "listenerPath": str(listener)}


def template_profile() -> dict[str, Any]:
    """Return the profile of a process that makes sandboxes out of itself and puts a job's filter on top of this one.

    Without a listener: the kernel allows one in a chain of filters, which is the job's. What a job's filter notifies must be
    allowed here, because of two filters the more refusing one decides and a refused call is not counted.
    """
    plain = [name for name, numbers in _COUNTED.items() if platform.machine() in numbers]
    kept = [rule for rule in _allowed() if not _NARROWED & set(rule["names"])]
    return _profile([{"names": [*plain, *_SETUP], "action": "SCMP_ACT_ALLOW"}, *kept])
