"""The system calls that Python 3.11's standard library lacks, each raising OSError on failure."""

import ctypes
import os
import struct
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

# The same numbers on every architecture: calls added since Linux 5.1 share one table.
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _FSPICK, _MOUNT_SETATTR = 429, 430, 431, 432, 433, 442
_PIDFD_GETFD: Final = 438
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE, _FSCONFIG_CMD_RECONFIGURE = 1, 6, 7
_FSPICK_CLOEXEC, _FSPICK_EMPTY_PATH = 0x1, 0x8
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
_AT_RECURSIVE: Final = 0x8000
_AT_FDCWD, _MOVE_MOUNT_F_EMPTY_PATH = -100, 0x4
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
# attr_set, attr_clr, propagation, userns_fd
_MOUNT_ATTRIBUTES: Final = struct.Struct("4Q")


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _syscall(what: str, number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        _raise(what)
    return result


def unshare(flags: int) -> None:
    """Move the caller into new namespaces."""
    if _libc.unshare(flags) != 0:
        _raise("unshare")


def enter(namespace: int, kind: int) -> None:
    """Move the caller into the namespace behind a descriptor, which must be of the given kind."""
    if _libc.setns(namespace, kind) != 0:
        _raise("setns")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount as mount(2) does; empty strings stand for no value."""
    arguments = [value.encode() or None for value in (source, target, kind)]
    if _libc.mount(*arguments, flags, options.encode() or None) != 0:
        _raise(f"mount {kind or 'bind'} on {target}")


def unmount(target: str) -> None:
    """Detach a mount at once, even when it is in use."""
    if _libc.umount2(target.encode(), MNT_DETACH) != 0:
        _raise(f"umount {target}")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this process a signal when its parent ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        _raise("prctl")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        _raise("prctl")


def gain_no_privileges() -> None:
    """Give up, for this process and all it starts, what executing a file could give."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        _raise("prctl")


def take_descriptor(process: int, number: int) -> int:
    """Return a copy of another process's descriptor, which that process keeps."""
    return _syscall("pidfd_getfd", _PIDFD_GETFD, process, number, 0)


def detached_tmpfs(options: dict[str, str], attributes: int = 0) -> int:
    """Return a descriptor of a new tmpfs that is on no mount table; it lives as long as the descriptor (0.14 ms)."""
    context = _syscall("fsopen tmpfs", _FSOPEN, b"tmpfs", 1)
    try:
        _configure(context, options, _FSCONFIG_CMD_CREATE)
        return _syscall("fsmount", _FSMOUNT, context, 1, _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV | attributes)
    finally:
        os.close(context)


def resize_tmpfs(mount_fd: int, options: dict[str, str]) -> None:
    """Change the size or the number of inodes of a tmpfs by a descriptor of its root, wherever it is mounted (20 µs)."""
    context = _syscall("fspick tmpfs", _FSPICK, mount_fd, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH)
    try:
        _configure(context, options, _FSCONFIG_CMD_RECONFIGURE)
    finally:
        os.close(context)


def _configure(context: int, options: dict[str, str], command: int) -> None:
    for key, value in options.items():
        _syscall(f"fsconfig {key}", _FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
    _syscall("fsconfig", _FSCONFIG, context, command, None, None, 0)


def attach(mount_fd: int, target: str) -> None:
    """Place a detached mount on a folder of the caller's mount namespace."""
    _syscall("move_mount", _MOVE_MOUNT, mount_fd, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)


def make_read_only(target: str) -> None:
    """Make a mount and all below it read-only in the caller's mount namespace."""
    attributes = _MOUNT_ATTRIBUTES.pack(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    _syscall("mount_setattr", _MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, attributes, len(attributes))
