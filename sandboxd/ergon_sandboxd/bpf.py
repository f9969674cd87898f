"""From a seccomp profile to the program the kernel runs: made once, by the library that runtimes use for every start.

A runtime that is given the JSON does the same work at every start; crun and seccomp(2) take the bytes as they are.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_LIBRARY: Final = "libseccomp.so.2"
_INSTRUCTION_BYTES: Final = 8
_UNKNOWN_CALL: Final = -1
# enum scmp_filter_attr; the value 2 is a binary tree over the numbers instead of one comparison after the other.
_ATTRIBUTE_OPTIMIZE, _BINARY_TREE = 8, 2
_MAX_ERRNO: Final = 4095
_ACTIONS: Final[dict[str, int]] = {
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_COMPARISONS: Final[dict[str, int]] = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


class _Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def compile_profile(profile: dict[str, Any]) -> bytes:
    """Return the `struct sock_filter[]` of the seccomp section of an OCI specification; its listener plays no part.

    As a runtime does, it passes over names the library does not know, which leaves them to the default action. OSError when
    the library is missing or refuses; ValueError for what no profile of ours has.
    """
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    library = _load()
    with _filter(library, default) as context:
        for name in profile["architectures"]:
            _add_architecture(library, context, name)
        for rule in profile["syscalls"]:
            _add_rule(library, context, default, rule)
        # Older libraries lack it and say so; the program means the same either way.
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))
        return _export(library, context)


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise OSError(f"cannot load {_LIBRARY}: {error}; install the package libseccomp2, or libseccomp where it is called so") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _check(result: int, what: str, *allowed: int) -> None:
    if result < 0 and -result not in allowed:
        raise OSError(-result, f"libseccomp: {what}: {os.strerror(-result)}")


@contextmanager
def _filter(library: ctypes.CDLL, default: int) -> Iterator[ctypes.c_void_p]:
    handle = library.seccomp_init(default)
    if handle is None:
        raise OSError("libseccomp: seccomp_init failed")
    context = ctypes.c_void_p(handle)
    try:
        yield context
    finally:
        library.seccomp_release(context)


def _action(name: str, errno_value: int | None) -> int:
    if name not in _ACTIONS:
        raise ValueError(f"seccomp action {name}: only {', '.join(_ACTIONS)} are known here")
    if name != "SCMP_ACT_ERRNO":
        return _ACTIONS[name]
    # What the specification says when none is named.
    value = 1 if errno_value is None else errno_value
    if not 0 < value <= _MAX_ERRNO:
        raise ValueError(f"seccomp error number {value}: must be from 1 to {_MAX_ERRNO}")
    return _ACTIONS[name] | value


def _add_architecture(library: ctypes.CDLL, context: ctypes.c_void_p, name: str) -> None:
    token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
    if token == 0:
        raise ValueError(f"libseccomp does not know the architecture {name}")
    # A new filter has this machine's own already.
    _check(library.seccomp_arch_add(context, token), f"architecture {name}", errno.EEXIST)


def _add_rule(library: ctypes.CDLL, context: ctypes.c_void_p, default: int, rule: dict[str, Any]) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    comparisons = _comparisons(rule)
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != _UNKNOWN_CALL:
            _check(library.seccomp_rule_add_array(context, action, number, len(comparisons), comparisons), f"rule for {name}")


def _comparisons(rule: dict[str, Any]) -> "ctypes.Array[_Comparison]":
    conditions = rule.get("args", [])
    indices = [condition["index"] for condition in conditions]
    # Runtimes take two on one argument to be alternatives, the specification does not say so.
    if len(set(indices)) != len(indices):
        raise ValueError(f"seccomp rule for {', '.join(rule['names'])}: two conditions on one argument")
    found = [_Comparison(each["index"], _COMPARISONS[each["op"]], each["value"], each.get("valueTwo", 0)) for each in conditions]
    return (_Comparison * len(found))(*found)


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    # Memory, not a pipe: the library writes everything at once and a pipe could be smaller.
    file = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, file), "export")
        program = os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)
    if not program or len(program) % _INSTRUCTION_BYTES:
        raise OSError(f"libseccomp: exported {len(program)} bytes, which is no BPF program")
    return program
