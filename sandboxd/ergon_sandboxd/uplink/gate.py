"""What the kernel lets out of a sandbox towards its uplink: a packet filter on the device, where no route can be chosen.

Routes alone would not do: a socket that is bound to the device, or sends to a group or to everybody, is sent out although
no route leads there. The filter is attached to the device's other end, which no process of the sandbox has.
"""

import ctypes
import fcntl
import struct
from ipaddress import IPv4Network
from typing import Final

from .addresses import NAME_SERVER, Reach

# linux/bpf_common.h: load a half-word or a word at a place of the frame, and a constant, jump if equal, return.
_LOAD_HALF, _LOAD_WORD, _AND, _JUMP_EQUAL, _RETURN = 0x28, 0x20, 0x54, 0x15, 0x06
_INSTRUCTION: Final = struct.Struct("=HBBI")
_TYPE_AT, _DESTINATION_AT = 12, 30
_IPV4, _ARP = 0x0800, 0x0806
_PASS, _DROP = 0xFFFFFFFF, 0
# linux/if_tun.h
_TUNATTACHFILTER: Final = 0x401054D5
_FILTER: Final = struct.Struct("@HP")


def gate_program(reach: Reach) -> bytes:
    """Return the classic BPF program that lets out ARP, and IPv4 to the name server and what may be reached."""
    return b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (_LOAD_HALF, 0, 0, _TYPE_AT),
            (_JUMP_EQUAL, 0, 1, _ARP),
            (_RETURN, 0, 0, _PASS),
            (_JUMP_EQUAL, 1, 0, _IPV4),
            (_RETURN, 0, 0, _DROP),
            *_decide(IPv4Network(NAME_SERVER), _PASS),
            *(step for address in reach.own for step in _decide(address, _DROP)),
            *(step for network in reach.allowed for step in _decide(network, _PASS)),
            *(step for network in reach.closed for step in _decide(network, _DROP)),
            (_RETURN, 0, 0, _PASS),
        )
    )


def _decide(network: IPv4Network, verdict: int) -> tuple[tuple[int, int, int, int], ...]:
    return (
        (_LOAD_WORD, 0, 0, _DESTINATION_AT),
        (_AND, 0, 0, int(network.netmask)),
        (_JUMP_EQUAL, 0, 1, int(network.network_address)),
        (_RETURN, 0, 0, verdict),
    )


def close_gate(tap: int, program: bytes) -> None:
    """Attach the program to a tap device by the descriptor that its frames are read from."""
    steps = ctypes.create_string_buffer(program, len(program))
    fcntl.ioctl(tap, _TUNATTACHFILTER, _FILTER.pack(len(program) // _INSTRUCTION.size, ctypes.addressof(steps)))
