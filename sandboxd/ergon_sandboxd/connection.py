"""One client's socket: whole frames in, bounded bytes out, never blocking longer than asked."""

import select
import socket
import time
from typing import Final

from .errors import Disconnected, SandboxError
from .framing import Frame, FrameReader, Message, encode

_RECEIVE_BYTES: Final = 65_536
STALL_SECONDS: Final = 30.0


class Connection:
    """A non-blocking stream socket with a frame reader and an output buffer."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._reader = FrameReader()
        self._out = bytearray()

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._socket.fileno()

    @property
    def pending_bytes(self) -> int:
        """Bytes queued that the client has not taken yet."""
        return len(self._out)

    def queue(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Queue a frame without sending."""
        self._out += encode(message, payload)

    def push(self) -> None:
        """Send what the socket takes now; Disconnected when the client is gone."""
        try:
            while self._out:
                with memoryview(self._out) as view:
                    sent = self._socket.send(view)
                del self._out[:sent]
        except BlockingIOError:
            return
        except OSError as error:
            raise Disconnected(str(error)) from error

    def flush(self, stall_seconds: float = STALL_SECONDS) -> None:
        """Send everything; Disconnected when the client takes nothing for that long."""
        while True:
            self.push()
            if not self._out:
                return
            if not self._wait(select.POLLOUT, stall_seconds):
                raise Disconnected("the client stopped reading")

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Queue a frame and flush."""
        self.queue(message, payload)
        self.flush()

    def pull(self) -> bool:
        """Take what the socket has now; False at the end of the stream."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except OSError as error:
            raise Disconnected(str(error)) from error
        self._reader.feed(data)
        return bool(data)

    def next_frame(self) -> Frame | None:
        """Return a whole frame that has already arrived."""
        return self._reader.next()

    def receive(self, idle_seconds: float, deadline: float) -> Frame:
        """Wait for a frame; SandboxError PROTOCOL when the client is idle or too slow, Disconnected when it is gone."""
        while True:
            frame = self._reader.next()
            if frame is not None:
                return frame
            patience = min(idle_seconds, deadline - time.monotonic())
            if patience <= 0 or not self._wait(select.POLLIN, patience):
                raise SandboxError("PROTOCOL", "timed out waiting for the request")
            if not self.pull():
                raise Disconnected("closed")

    def _wait(self, events: int, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self._socket, events)
        return bool(poller.poll(seconds * 1000))

    def linger(self, seconds: float) -> None:
        """Take and drop what the client is still sending, until it closes or the time is over.

        A socket closed on unread bytes resets the client, which then might never see the error it was sent.
        """
        deadline = time.monotonic() + seconds
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0 and self._wait(select.POLLIN, left):
                if not self._socket.recv(_RECEIVE_BYTES):
                    return
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
