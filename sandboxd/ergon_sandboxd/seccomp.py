"""The system calls a job may make: everything else is refused with EPERM, foreign architectures are killed."""

import json
import platform
from pathlib import Path
from typing import Any, Final

_ARCHITECTURES: Final[dict[str, str]] = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# Read once: an update of the files must not mix with code that runs.
_ALLOWED: Final[list[str]] = json.loads(Path(__file__).with_name("seccomp_allowed.json").read_text())
_EPERM, _ENOSYS = 1, 38
# NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_NAMESPACE_FLAGS: Final = 0x7E020000
_S_IFMT, _S_IFIFO = 0o170000, 0o010000
# Addresses that lead nowhere outside: a network namespace does not isolate AF_VSOCK, and AF_ALG, AF_NETLINK and
# AF_PACKET are kernel parsers no job needs.
_AF_UNIX: Final = 1
_INTERNET_DOMAINS: Final = {"AF_INET": 2, "AF_INET6": 10}
# Type and protocol (0 is the type's own): any other makes the kernel load the host's module for it, SCTP's for instance.
_INTERNET_PROTOCOLS: Final = ((1, 0), (1, 6), (2, 0), (2, 17))
_SOCKET_TYPE_MASK: Final = 0xF
# Huge pages come from a pool of the host that no memory limit of the job counts.
_MAP_HUGETLB, _MFD_HUGETLB = 0x40000, 0x4
# Every command but F_NOTIFY: like inotify, it would tell a job which files of the shared environment others use.
_FCNTL_COMMANDS: Final = (*range(12), 15, 16, 17, *range(36, 39), 1024, 1025, *range(1027, 1042))
_COMMAND_MASK: Final = 0xFFFFFFFF


def _argument(index: int, value: int, mask: int | None = None) -> dict[str, Any]:
    if mask is None:
        return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _allow(name: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def profile() -> dict[str, Any]:
    """Return the seccomp section of an OCI specification for this machine's architecture."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no seccomp profile for the architecture {machine}")
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [_ARCHITECTURES[machine]],
        "syscalls": [
            {"names": _ALLOWED, "action": "SCMP_ACT_ALLOW"},
            _allow("clone", _argument(0, 0, mask=_NAMESPACE_FLAGS)),
            # glibc falls back to clone, whose flags can be inspected, only when clone3 does not exist.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            _allow("socket", _argument(0, _AF_UNIX)),
            *(
                _allow("socket", _argument(0, domain), _argument(1, kind, mask=_SOCKET_TYPE_MASK), _argument(2, protocol))
                for domain in _INTERNET_DOMAINS.values()
                for kind, protocol in _INTERNET_PROTOCOLS
            ),
            _allow("socketpair", _argument(0, _AF_UNIX)),
            _allow("mmap", _argument(3, 0, mask=_MAP_HUGETLB)),
            _allow("memfd_create", _argument(1, 0, mask=_MFD_HUGETLB)),
            *(_allow("fcntl", _argument(1, command, mask=_COMMAND_MASK)) for command in _FCNTL_COMMANDS),
            _allow("personality", _argument(0, 0)),
            # FIFOs are ordinary inter-process plumbing; device nodes stay refused.
            _allow("mknod", _argument(1, _S_IFIFO, mask=_S_IFMT)),
            _allow("mknodat", _argument(2, _S_IFIFO, mask=_S_IFMT)),
        ],
    }
