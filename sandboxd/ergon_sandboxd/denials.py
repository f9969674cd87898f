"""Refusing and counting the system calls that only an attempt to break out makes: seccomp's user notification.

The kernel stops the caller until it is answered here. So the counter must never wait for the job, and when it closes its
descriptor the kernel answers ENOSYS by itself: neither side can stall the other.
"""

import errno
import fcntl
import os
import select
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Final

from . import seccomp

# Beyond this the count says no more, and each denial costs this process some 30 µs that no limit of the job counts.
MAX_COUNTED: Final = 1000

# _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp)
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
# id, and of struct seccomp_data the number and the second argument. That one is a register, mmap's length, which nobody can change
# any more; what an argument points to is never looked at.
_NOTIFICATION: Final = struct.Struct("Q8xi20xQ32x")
_RESPONSE: Final = struct.Struct("QqiI")
_MAX_STATE_BYTES: Final = 65_536


class DenialCounter:
    """Takes the seccomp descriptor from the runtime, then refuses and counts every notified call until the count is full."""

    def __init__(self, listener: socket.socket | None, notifications: int | None) -> None:
        self.counts: Counter[str] = Counter()
        # The largest allocation refused for being beyond the whole machine; 0 when there was none.
        self.refused_allocation_bytes = 0
        self._answered = 0
        self._listener = listener
        self._runtime: socket.socket | None = None
        self._notifications = notifications
        self._is_over = False

    @staticmethod
    def listen(path: Path) -> "DenialCounter":
        """Wait for a runtime that brings the descriptor."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        listener.listen(1)
        return DenialCounter(listener, None)

    @staticmethod
    def watch(notifications: int) -> "DenialCounter":
        """Take over the descriptor of a filter that is installed already."""
        return DenialCounter(None, notifications)

    def fileno(self) -> int | None:
        """The descriptor to wait on for now, or None when nothing can come any more."""
        if self._is_over:
            return None
        if self._notifications is not None:
            return self._notifications
        waiting = self._runtime or self._listener
        return None if waiting is None else waiting.fileno()

    def advance(self, events: int) -> None:
        """Take one step: call it when `fileno` is ready."""
        if self._notifications is not None:
            if events & select.POLLIN:
                self._deny_one(self._notifications)
            else:
                # Nobody with the filter lives any more.
                self._stop()
        elif self._runtime is not None:
            self._take_descriptor(self._runtime)
        elif self._listener is not None:
            self._runtime, _ = self._listener.accept()
            self._runtime.setblocking(False)

    def _take_descriptor(self, runtime: socket.socket) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(runtime, _MAX_STATE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        if descriptors:
            self._notifications = descriptors[0]
        else:
            self._stop()

    def _deny_one(self, notifications: int) -> None:
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(notifications, _RECEIVE, buffer)
            identifier, number, argument = _NOTIFICATION.unpack(buffer)
            fcntl.ioctl(notifications, _SEND, _RESPONSE.pack(identifier, 0, -self._count(seccomp.name_of(number), argument), 0))
        except OSError:
            # The caller was killed or interrupted in between.
            pass
        if self._answered >= MAX_COUNTED:
            self._stop()

    def _count(self, name: str, argument: int) -> int:
        """Return the error number that the caller gets: for an allocation the one that the kernel itself would give."""
        self._answered += 1
        if name == seccomp.ALLOCATION:
            self.refused_allocation_bytes = max(self.refused_allocation_bytes, argument)
            return errno.ENOMEM
        self.counts[name] += 1
        return errno.EPERM

    def _stop(self) -> None:
        self._is_over = True
        if self._notifications is not None:
            os.close(self._notifications)
            self._notifications = None

    def close(self) -> None:
        """Close every descriptor."""
        self._stop()
        for connection in (self._listener, self._runtime):
            if connection is not None:
                connection.close()
