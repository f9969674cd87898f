"""One output stream of a job: counted in full, delivered up to its limit."""

from typing import Literal

from .evidence import KilledBy
StreamName = Literal["stdout", "stderr"]


class OutputStream:
    """Counts what was read and decides what may be delivered."""

    def __init__(self, name: StreamName, limit_bytes: int) -> None:
        self.name: StreamName = name
        self.kill_cause: KilledBy = name
        self._limit = limit_bytes
        self.read_bytes = 0
        self.delivered_bytes = 0

    @property
    def truncated(self) -> bool:
        """True once something had to be dropped."""
        return self.read_bytes > self.delivered_bytes

    def accept(self, data: bytes) -> tuple[int, bytes]:
        """Count data; return the offset and the part of it that is within the limit."""
        offset = self.delivered_bytes
        kept = data[: self._limit - offset]
        self.read_bytes += len(data)
        self.delivered_bytes += len(kept)
        return offset, kept
