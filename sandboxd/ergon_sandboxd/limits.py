"""The limits of one sandbox, each with a floor and a ceiling beyond which a request is refused."""

from dataclasses import dataclass, fields
from typing import Final

from .errors import SandboxError

_KIB, _MIB, _GIB, _TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use; times in milliseconds, sizes in bytes, cpu_percent 100 is one core."""

    wall_ms: int
    cpu_ms: int
    memory_bytes: int
    pids: int
    cpu_percent: int
    file_size_bytes: int
    disk_bytes: int
    disk_files: int
    open_files: int
    stdout_bytes: int
    stderr_bytes: int
    input_bytes: int
    result_bytes: int
    artifact_count: int
    artifact_bytes: int


# Floors are what the runtime and init need themselves (an interpreter and crun take about 20 MiB); input_bytes is
# held by sandboxd's own memory, so its ceiling is low.
RANGES: Final[dict[str, tuple[int, int]]] = {
    "wall_ms": (10, _DAY_MS),
    "cpu_ms": (10, 64 * _DAY_MS),
    "memory_bytes": (32 * _MIB, 16 * _TIB),
    "pids": (1, 100_000),
    "cpu_percent": (1, 102_400),
    "file_size_bytes": (4 * _KIB, 16 * _TIB),
    "disk_bytes": (64 * _KIB, 16 * _TIB),
    "disk_files": (16, 100_000_000),
    "open_files": (16, 1 << 20),
    "stdout_bytes": (0, _GIB),
    "stderr_bytes": (0, _GIB),
    "input_bytes": (0, 4 * _GIB),
    "result_bytes": (0, _GIB),
    "artifact_count": (0, 100_000),
    "artifact_bytes": (0, _TIB),
}


def check_limit(name: str, number: object) -> int:
    """Return the value of one limit; SandboxError PROTOCOL for its type, LIMIT_OUT_OF_RANGE for its value."""
    floor, ceiling = RANGES[name]
    if type(number) is not int:
        raise SandboxError("PROTOCOL", f"limit {name} must be an integer")
    if not floor <= number <= ceiling:
        raise SandboxError("LIMIT_OUT_OF_RANGE", f"limit {name} must be from {floor} to {ceiling}, not {str(number)[:40]}")
    return number


def parse_limits(value: object) -> Limits:
    """Check every limit by name; SandboxError PROTOCOL for a missing or unknown one, LIMIT_OUT_OF_RANGE for its value."""
    if not isinstance(value, dict):
        raise SandboxError("PROTOCOL", "limits must be an object")
    names = [field.name for field in fields(Limits)]
    for unknown in sorted(set(value) - set(names)):
        raise SandboxError("PROTOCOL", f"unknown limit {unknown!r}")
    for name in names:
        if name not in value:
            raise SandboxError("PROTOCOL", f"limit {name} is missing")
        check_limit(name, value[name])
    return Limits(**value)
