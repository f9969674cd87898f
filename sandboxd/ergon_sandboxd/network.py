"""A sandbox's network: a namespace with a loopback or not even that, seldom an uplink, and the kernel's count of what tried to leave it.

The handler enters it and the runtime inherits it. So the counters can be read when every process of the job is gone,
however short it lived; and the namespace belongs to no user namespace that the job could ever gain rights in.
"""

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

from . import syscalls
from .cgroup.files import read_text
from .uplink.interface import forgo_ipv6
from .uplink.namespaces import OwnedNetwork, make_owned_network

_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_IFF_UP: Final = 1
_INTERFACE_REQUEST: Final = struct.Struct("16sh22x")
_ADDRESS_REQUEST: Final = struct.Struct("16sHH4s16x")
# linux/netlink.h, linux/rtnetlink.h
_NETLINK_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=8BI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_RTM_DELROUTE, _NLM_F_REQUEST_ACK, _RT_TABLE_LOCAL, _RTA_DST = 25, 5, 255, 1
_NLMSG_ERROR: Final = 2
_COUNTERS: Final = Path("/proc/self/net")
_HAS_IPV6: Final = _COUNTERS / "if_inet6"


def enter_loopback_network() -> None:
    """Move the caller into a new network namespace in which only loopback works."""
    syscalls.unshare(syscalls.CLONE_NEWNET)
    _raise_loopback()


def enter_uplink_network(owner: int) -> OwnedNetwork:
    """Move the caller into a new network namespace in which an uplink process of the uid `owner` can make its device."""
    made = make_owned_network(owner)
    syscalls.enter(made.network, syscalls.CLONE_NEWNET)
    _raise_loopback()
    forgo_ipv6()
    return made


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        # Up, or the kernel would answer IPv6 before it counts.
        fcntl.ioctl(control, _SIOCSIFFLAGS, _INTERFACE_REQUEST.pack(b"lo", _IFF_UP))


def enter_no_network() -> None:
    """Move the caller into a new network namespace in which not even loopback works.

    The device stays up and keeps the address ::1, without a way to it: a device that is down, or has no address at all, is
    found out before the kernel looks for a route, and would not be counted.
    """
    enter_loopback_network()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, _ADDRESS_REQUEST.pack(b"lo", socket.AF_INET, 0, bytes(4)))
    if _HAS_IPV6.exists():
        _forget_route(socket.inet_pton(socket.AF_INET6, "::1"))


def _forget_route(address: bytes) -> None:
    body = _ROUTE.pack(socket.AF_INET6, 8 * len(address), 0, 0, _RT_TABLE_LOCAL, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _RTA_DST) + address
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as routes:
        routes.send(_NETLINK_HEADER.pack(_NETLINK_HEADER.size + len(body), _RTM_DELROUTE, _NLM_F_REQUEST_ACK, 1, 0) + body)
        answer = routes.recv(4096)
    kind, (error,) = _NETLINK_HEADER.unpack_from(answer)[1], struct.unpack_from("=i", answer, _NETLINK_HEADER.size)
    if kind != _NLMSG_ERROR or error != 0:
        raise OSError(-error, f"the route to ::1 cannot be removed: {os.strerror(-error)}")


def count_attempts(*, counts_ipv6: bool = True) -> int:
    """How often something in the caller's network namespace asked for an address that no route leads to.

    Every connection and datagram to anywhere but loopback, of either IP version, is one; each look-up of a name is some.
    Traffic over loopback is the job's own and is none, unless it has no loopback either. With an uplink,
    programs try addresses of IPv6 first that a name has besides, and mean nothing by it.
    """
    ipv4 = _read_ipv4(read_text(f"{_COUNTERS}/snmp"))
    return ipv4 + _read_ipv6(f"{_COUNTERS}/snmp6") if counts_ipv6 else ipv4


def _read_ipv4(text: str) -> int:
    names, values = (line.split() for line in text.splitlines() if line.startswith("Ip:"))
    return int(values[names.index("OutNoRoutes")])


def _read_ipv6(file: str) -> int:
    try:
        text = read_text(file)
    except FileNotFoundError:
        # A kernel without IPv6 has no sockets of it either.
        return 0
    _, _, rest = text.partition("Ip6OutNoRoutes")
    return int(rest.split(maxsplit=1)[0]) if rest else 0
