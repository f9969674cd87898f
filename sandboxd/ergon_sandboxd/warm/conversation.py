"""Talking with what runs inside a template's sandbox: single words, descriptors, and the kernel's word for who speaks."""

import os
import select
import socket
import struct
from contextlib import suppress
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("3i")
_MAX_LOG_BYTES: Final = 4096
STEP_SECONDS: Final = 10.0


class TemplateFailed(Exception):
    """The template did not start, died, or does not answer."""


class Word(NamedTuple):
    """What was said, by which process of our own PID namespace, and the descriptor that came along."""

    text: bytes
    pid: int
    descriptor: int | None


def speaking_pair() -> tuple[socket.socket, socket.socket]:
    """Return our end and theirs; on ours the kernel adds who speaks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def await_word(sock: socket.socket, expected: bytes, seconds: float = STEP_SECONDS) -> Word:
    """Return the next word, which must begin as expected; TemplateFailed otherwise."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    if not poller.poll(seconds * 1000):
        raise TemplateFailed(f"no {expected.decode()} within {seconds:.0f} s")
    return read_word(sock, expected)


def read_word(sock: socket.socket, expected: bytes) -> Word:
    """Return the word that is there, which must begin as expected; TemplateFailed otherwise."""
    space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
    text, ancillary, _, _ = sock.recvmsg(64, space, socket.MSG_CMSG_CLOEXEC)
    pid, descriptor = 0, None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(data)[0]
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptor = struct.unpack("i", data[:4])[0]
    if not text.startswith(expected):
        raise TemplateFailed(f"it said {text!r} instead of {expected!r}" if text else f"it ended before {expected.decode()}")
    return Word(text, pid, descriptor)


def read_some(fd: int) -> str:
    """Return what a pipe holds, shortened."""
    with suppress(OSError):
        return os.read(fd, _MAX_LOG_BYTES).decode(errors="replace").strip()
    return ""
