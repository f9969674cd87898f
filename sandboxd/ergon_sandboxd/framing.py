"""The wire format: one JSON object a line, optionally followed by a counted block of raw bytes."""

import json
from typing import Any, Final, NamedTuple

from .errors import SandboxError

MAX_LINE_BYTES: Final = 65_536
MAX_PAYLOAD_BYTES: Final = 262_144

Message = dict[str, Any]


class Frame(NamedTuple):
    """A message and the raw bytes that came with it."""

    message: Message
    payload: bytes


def encode(message: Message, payload: bytes | memoryview = b"") -> bytes:
    """Return the bytes of one frame; a payload's length becomes the key `bytes`."""
    if payload:
        message = {**message, "bytes": len(payload)}
    line = _ENCODER.encode(message).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError("frame too long")
    return line + bytes(payload)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Message:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Made once: json's own functions make one for each call that asks for anything particular.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def parse_object(text: bytes) -> Message:
    """Parse one JSON object strictly; ValueError when it is anything else, too deep or has a key twice."""
    try:
        value = _DECODER.decode(text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


class FrameReader:
    """Cut a stream of bytes into frames; holds at most one line and one payload beyond what was fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message: Message | None = None

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the socket."""
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next whole frame or None; SandboxError PROTOCOL when the bytes cannot be one."""
        if self._message is None:
            self._message = self._take_line()
        if self._message is None:
            return None
        size = self._payload_size(self._message)
        if len(self._buffer) < size:
            return None
        message, payload = self._message, bytes(self._buffer[:size])
        del self._buffer[:size]
        self._message = None
        return Frame(message, payload)

    def _take_line(self) -> Message | None:
        end = self._buffer.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise SandboxError("PROTOCOL", f"a message is longer than {MAX_LINE_BYTES} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            return parse_object(line)
        except ValueError as error:
            raise SandboxError("PROTOCOL", f"a message must be one JSON object on one line: {error}") from error

    @staticmethod
    def _payload_size(message: Message) -> int:
        size = message.get("bytes", 0)
        if type(size) is not int or not 0 <= size <= MAX_PAYLOAD_BYTES:
            raise SandboxError("PROTOCOL", f"bytes must be an integer from 0 to {MAX_PAYLOAD_BYTES}")
        return size
