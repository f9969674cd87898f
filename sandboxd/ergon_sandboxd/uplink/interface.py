"""The sandbox's end of an uplink: one address, and routes to what may be reached. What has no route is refused and counted."""

import ctypes
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from .addresses import GATEWAY, NAME_SERVER, OWN_ADDRESS, Reach, reachable

DEVICE: Final = "tap0"
MTU: Final = 65_520
_SIOCADDRT, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x890B, 0x8914, 0x8916, 0x891C, 0x8922
_IFF_UP: Final = 1
_RTF_UP, _RTF_GATEWAY, _RTF_HOST = 1, 2, 4
_FLAGS: Final = struct.Struct("16sh22x")
_NUMBER: Final = struct.Struct("16si20x")
_ADDRESS: Final = struct.Struct("16s16s8x")
# struct rtentry: pad, destination, gateway, mask, flags, pads, metric, device, mtu, window, irtt.
_ROUTE: Final = struct.Struct("@L16s16s16sHhLPhPLLH")
# struct ifconf, and the struct ifreq of each address.
_LIST: Final = struct.Struct("@iP")
_NAMED_ADDRESS: Final = struct.Struct("16sHH4s16x")
_SIOCGIFCONF: Final = 0x8912
# Each takes four steps of a filter that may have 4096.
_MAX_ADDRESSES: Final = 513
_NO_ADDRESS: Final = IPv4Address(0)
_NEW_DEVICES_IPV6: Final = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


def addresses_here() -> list[IPv4Address]:
    """Return every IPv4 address of the caller's network namespace; OSError when there are more than anybody has."""
    buffer = ctypes.create_string_buffer(_MAX_ADDRESSES * _NAMED_ADDRESS.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        answer = fcntl.ioctl(control, _SIOCGIFCONF, _LIST.pack(len(buffer), ctypes.addressof(buffer)))
    (size, _) = _LIST.unpack(answer)
    if size >= len(buffer):
        raise OSError(f"the host has more than {_MAX_ADDRESSES - 1} addresses")
    return [IPv4Address(address) for _, _, _, address in _NAMED_ADDRESS.iter_unpack(buffer.raw[:size])]


def forgo_ipv6() -> None:
    """Let devices to come have no IPv6, which the uplink does not carry; one that has it is stopped at the gate."""
    try:
        _NEW_DEVICES_IPV6.write_text("1")
    except OSError:
        return


def configure(reach: Reach) -> None:
    """Bring the device up in the caller's network namespace; OSError when the kernel refuses."""
    name = DEVICE.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCSIFMTU, _NUMBER.pack(name, MTU))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _FLAGS.pack(name, _IFF_UP))
        fcntl.ioctl(control, _SIOCSIFADDR, _ADDRESS.pack(name, _socket_address(OWN_ADDRESS)))
        # A mask of its own, or the whole subnet would be on the link.
        fcntl.ioctl(control, _SIOCSIFNETMASK, _ADDRESS.pack(name, _socket_address(IPv4Address("255.255.255.255"))))
        for neighbour in (GATEWAY, NAME_SERVER):
            _add_route(control, IPv4Network(neighbour), None)
        for network in reachable(reach):
            _add_route(control, network, GATEWAY)


def _add_route(control: socket.socket, network: IPv4Network, gateway: IPv4Address | None) -> None:
    device = ctypes.create_string_buffer(DEVICE.encode())
    flags = _RTF_UP | (_RTF_GATEWAY if gateway is not None else 0) | (_RTF_HOST if network.prefixlen == 32 else 0)
    addresses = (network.network_address, gateway or _NO_ADDRESS, network.netmask)
    packed = [_socket_address(address) for address in addresses]
    fcntl.ioctl(control, _SIOCADDRT, _ROUTE.pack(0, *packed, flags, 0, 0, 0, 0, ctypes.addressof(device), 0, 0, 0))


def _socket_address(address: IPv4Address) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address.packed)
