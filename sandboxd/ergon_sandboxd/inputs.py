"""Receiving a sandbox's read-only inputs into their volume."""

import os
import time
from typing import Final

from .connection import Connection
from .errors import SandboxError
from .limits import Limits
from .messages import Data, FileAnnouncement, Kill, PythonEntry, RunRequest, Start, parse_request
from .workspace import Volume, as_disk_error

IDLE_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 300.0
_MAX_FILES: Final = 1024


class Cancelled(Exception):
    """The client killed the sandbox before it started."""


def receive_inputs(connection: Connection, request: RunRequest, volume: Volume) -> None:
    """Store every announced file until `start`; SandboxError for anything beyond the limits or out of order."""
    deadline = time.monotonic() + REQUEST_SECONDS
    received: set[str] = set()
    total = 0
    while True:
        message = parse_request(connection.receive(IDLE_SECONDS, deadline))
        if isinstance(message, Start):
            break
        if isinstance(message, Kill):
            raise Cancelled
        if not isinstance(message, FileAnnouncement):
            raise SandboxError("PROTOCOL", "expected file, start or kill")
        total += message.size
        _check(message, received, total, request.limits)
        received.add(message.path)
        _store(connection, message, volume, deadline)
    entry = request.entry
    if isinstance(entry, PythonEntry) and entry.file not in received:
        raise SandboxError("PROTOCOL", f"entry.file {entry.file} was not sent")


def _check(file: FileAnnouncement, received: set[str], total: int, limits: Limits) -> None:
    if file.path in received:
        raise SandboxError("PROTOCOL", f"{file.path} was sent twice")
    if total > limits.input_bytes:
        raise SandboxError("INPUT_TOO_LARGE", f"inputs are larger than {limits.input_bytes} bytes at {file.path}")
    if len(received) >= _MAX_FILES:
        raise SandboxError("INPUT_TOO_LARGE", f"more than {_MAX_FILES} input files")


def _store(connection: Connection, file: FileAnnouncement, volume: Volume, deadline: float) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        target = os.open(file.path, flags, 0o644, dir_fd=volume.fd)
        try:
            # The process's umask must not decide whether the job can read its inputs.
            os.fchmod(target, 0o444)
            missing = file.size
            while missing:
                message = parse_request(connection.receive(IDLE_SECONDS, deadline))
                if isinstance(message, Kill):
                    raise Cancelled
                if not isinstance(message, Data) or not message.payload:
                    raise SandboxError("PROTOCOL", f"expected the data of {file.path}")
                if len(message.payload) > missing:
                    raise SandboxError("PROTOCOL", f"more data than announced for {file.path}")
                _write_all(target, message.payload)
                missing -= len(message.payload)
        finally:
            os.close(target)
    except OSError as error:
        raise as_disk_error(error) from error


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
