"""The system calls that a warm sandbox is built with from inside, each raising OSError on failure. Needs ctypes."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

# x86_64's and the generic table's; calls added since Linux 5.1 have one number everywhere.
_NUMBERS = {"x86_64": {"clone": 56, "seccomp": 317}, "aarch64": {"clone": 220, "seccomp": 277}}
_MOVE_MOUNT = 429

NEW_MOUNTS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PIDS, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
# Instead of namespaces: the child becomes one of the caller's parent.
SIBLING = 0x00008000
# What a job joins of its init, in this order: rights over the others come with the first.
JOINED = (NEW_USER, NEW_MOUNTS, NEW_NETWORK, NEW_IPC, NEW_UTS, NEW_CGROUP)
_DETACH, _CWD, _EMPTY_PATH = 2, -100, 4
_SIGCHLD = 17
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
# Keeps the interpreter's lock, as a fork must.
_locked = ctypes.PyDLL(None, use_errno=True)
_locked.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(what: str, number: int, *arguments: int | bytes | ctypes.Structure) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else a if isinstance(a, bytes) else ctypes.byref(a) for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *converted), what)


def fork_into(flags: int) -> int:
    """Fork as os.fork does, with flags of clone(2): new namespaces for the child, or another parent."""
    zero = ctypes.c_long(0)
    number = _NUMBERS[os.uname().machine]["clone"]
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _locked.syscall(ctypes.c_long(number), ctypes.c_long(flags | _SIGCHLD), zero, zero, zero, zero)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return _check(pid, "clone")


def unshare(namespaces: int) -> None:
    """Move the caller into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(namespaces)), "unshare")


def enter(namespace: int, kind: int) -> None:
    """Move the caller, or of PID namespaces its future children, into an existing namespace."""
    _check(_libc.setns(ctypes.c_int(namespace), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount as mount(2) does; empty strings stand for no value."""
    words = [word.encode() or None for word in (source, target, kind)]
    _check(_libc.mount(*words, flags, options.encode() or None), f"mount {kind or 'bind'} on {target}")


def bind_read_only(source: str, target: str, flags: int = 0) -> None:
    """Make `source` visible at `target`, without the right to write."""
    mount(source, target, "", BIND)
    mount("", target, "", BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEVICES | flags)


def attach(mount_fd: int, target: str) -> None:
    """Place a detached mount on a folder."""
    _call(f"move_mount on {target}", _MOVE_MOUNT, mount_fd, b"", _CWD, target.encode(), _EMPTY_PATH)


def unmount(target: str) -> None:
    """Take the topmost mount off a folder."""
    _check(_libc.umount2(target.encode(), _DETACH), f"umount {target}")


def move_up(descriptors: list[int]) -> list[int]:
    """Return copies that no low number is taken by."""
    import fcntl

    return [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 128) for descriptor in descriptors]


def loopback_up() -> None:
    """Switch the loopback on: while it is down the kernel answers IPv6 before it counts."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def last_capability() -> int:
    """Return the highest capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def empty_bounding_set(last_capability: int) -> None:
    """Give up that any program started from here could ever gain a capability."""
    for capability in range(last_capability + 1):
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl capbset")


def own_proc_files() -> None:
    """Make the files in /proc/self the caller's until its next change of uid, which makes them the host's."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl dumpable")


def drop_capabilities() -> None:
    """Give up every capability that this process has."""
    header, nothing = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _check(_libc.capset(header, nothing), "capset")


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class SeccompFilter:
    """A compiled filter, loaded once before any fork."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            code = file.read()
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = _Program(len(code) // 8, ctypes.addressof(self._code))
        self._number = _NUMBERS[os.uname().machine]["seccomp"]

    def install(self) -> int:
        """Filter the caller from here on; returns the descriptor that notified calls wait at."""
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl no_new_privs")
        return _call("seccomp", self._number, _SECCOMP_SET_MODE_FILTER, _NEW_LISTENER, self._program)
