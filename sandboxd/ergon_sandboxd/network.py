"""A sandbox's network: a namespace with a loopback and nothing else, and the kernel's count of what tried to leave it.

The handler enters it and the runtime inherits it. So the counters can be read when every process of the job is gone,
however short it lived; and the namespace belongs to no user namespace that the job could ever gain rights in.
"""

import fcntl
import socket
import struct
from pathlib import Path
from typing import Final

from . import syscalls

_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_INTERFACE_REQUEST: Final = struct.Struct("16sh22x")
_COUNTERS: Final = Path("/proc/self/net")


def enter_empty_network() -> None:
    """Move the caller into a new network namespace in which only loopback works."""
    syscalls.unshare(syscalls.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        # Up, or the kernel would answer IPv6 before it counts.
        fcntl.ioctl(control, _SIOCSIFFLAGS, _INTERFACE_REQUEST.pack(b"lo", _IFF_UP))


def count_attempts() -> int:
    """How often something in the caller's network namespace asked for an address that no route leads to.

    Every connection and datagram to anywhere but loopback, of either IP version, is one; each look-up of a name is some.
    Traffic over loopback is the job's own and is none.
    """
    return _read_ipv4((_COUNTERS / "snmp").read_text()) + _read_ipv6(_COUNTERS / "snmp6")


def _read_ipv4(text: str) -> int:
    names, values = (line.split() for line in text.splitlines() if line.startswith("Ip:"))
    return int(values[names.index("OutNoRoutes")])


def _read_ipv6(file: Path) -> int:
    try:
        text = file.read_text()
    except FileNotFoundError:
        # A kernel without IPv6 has no sockets of it either.
        return 0
    _, _, rest = text.partition("Ip6OutNoRoutes")
    return int(rest.split(maxsplit=1)[0]) if rest else 0
