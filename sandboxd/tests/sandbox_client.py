"""A small client of the protocol, for tests: blocking, and as strict about what it receives as a worker should be."""

import json
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platforms import SLOWNESS

MIB = 1 << 20
DEFAULT_RUNTIME = "crun"
DEFAULT_ISOLATION = "fresh"
# For what must be ready before a request's clocks run.
BEFORE_CONNECT: Callable[[Path], None] | None = None
DEFAULT_LIMITS: dict[str, int] = {
    "wall_ms": 20_000 * SLOWNESS,
    "cpu_ms": 20_000 * SLOWNESS,
    "memory_bytes": 256 * MIB,
    "pids": 32,
    "cpu_percent": 100,
    "file_size_bytes": 64 * MIB,
    "disk_bytes": 64 * MIB,
    "disk_files": 1000,
    "open_files": 256,
    "stdout_bytes": 256 * 1024,
    "stderr_bytes": 256 * 1024,
    "input_bytes": 16 * MIB,
    "result_bytes": MIB,
    "artifact_count": 50,
    "artifact_bytes": 16 * MIB,
}


class Refused(Exception):
    """sandboxd answered `error`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass
class Outcome:
    """Everything one sandbox sent."""

    evidence: dict[str, Any] = field(default_factory=dict)
    stdout: bytes = b""
    stderr: bytes = b""
    result: bytes | None = None
    artifacts: dict[str, bytes] = field(default_factory=dict)
    violations: list[tuple[str, str]] = field(default_factory=list)
    limits: list[dict[str, Any]] = field(default_factory=list)
    isolation: str | None = None
    order: list[str] = field(default_factory=list)
    exit_after_seconds: float = 0.0

    @property
    def exit(self) -> tuple[str, int | None]:
        found = self.evidence["exit"]
        return found["kind"], found.get("code", found.get("signal"))

    @property
    def killed_by(self) -> str | None:
        found: str | None = self.evidence["killed_by"]
        return found

    @property
    def counters(self) -> dict[str, int]:
        found: dict[str, int] = self.evidence["counters"]
        return found


class Client:
    """One connection."""

    def __init__(self, path: Path, timeout: float = 60.0 * SLOWNESS) -> None:
        if BEFORE_CONNECT is not None:
            BEFORE_CONNECT(path)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self._file = self.sock.makefile("rb")
        self.streams = {"stdout": b"", "stderr": b""}
        self._expected_isolation: str | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        self.sock.sendall(json.dumps(message).encode() + b"\n" + payload)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        line = self._file.readline(65_537)
        if not line:
            raise EOFError("sandboxd closed the connection")
        assert len(line) <= 65_536 and line.endswith(b"\n")
        message: dict[str, Any] = json.loads(line)
        payload = self._file.read(message.get("bytes", 0))
        if message["type"] == "error":
            raise Refused(message["code"], message["message"])
        if message["type"] == "started" and self._expected_isolation is not None:
            assert message["isolation"] == self._expected_isolation
        if message["type"] == "output":
            assert message["offset"] == len(self.streams[message["stream"]])
            self.streams[message["stream"]] += payload
        return message, payload

    def expect(self, kind: str) -> dict[str, Any]:
        message, _ = self.receive()
        assert message["type"] == kind, message
        return message

    def send_file(self, path: str, content: bytes) -> None:
        self.send({"type": "file", "path": path, "size": len(content)})
        for start in range(0, len(content), 262_144):
            block = content[start : start + 262_144]
            self.send({"type": "data", "bytes": len(block)}, block)

    def begin(self, environment: str, source: str, *, files: dict[str, bytes] | None = None, **request: Any) -> None:
        """Send everything up to and including start."""
        limits = {**DEFAULT_LIMITS, **request.pop("limits", {})}
        isolation = request.get("isolation", DEFAULT_ISOLATION)
        expected = request.pop("expect_isolation", isolation)
        run: dict[str, Any] = {"id": f"t-{uuid.uuid4().hex[:12]}", "environment": environment, "runtime": DEFAULT_RUNTIME, "env": {}, "seed": None, "network": {"level": "loopback"}, "workspace": "read_write", "on_output_limit": "kill"}
        run.update(isolation=DEFAULT_ISOLATION)
        run["entry"] = {"kind": "python", "file": "code/main.py"}
        run = {**run, "limits": limits, **request}
        if run["entry"]["kind"] == "python":
            self._expected_isolation = expected
        self.send({"type": "run", **run})
        self.expect("accepted")
        for path, content in {"code/main.py": source.encode(), "input/parameters.json": b"{}", **(files or {})}.items():
            self.send_file(path, content)
        self.send({"type": "start"})

    def finish(self, *, until_removed: bool = True) -> Outcome:
        """Read to `done`, and then until all is removed, and check order and offsets on the way."""
        outcome, began = Outcome(), time.monotonic()
        while True:
            message, _ = self.receive()
            kind = message["type"]
            outcome.order.append(kind)
            if kind == "started":
                outcome.isolation = message["isolation"]
            elif kind == "exit":
                outcome.evidence = message["evidence"]
                outcome.exit_after_seconds = time.monotonic() - began
            elif kind == "result":
                outcome.result = self._data(message["size"])
            elif kind == "artifact":
                outcome.artifacts[message["name"]] = self._data(message["size"])
            elif kind == "violation":
                outcome.violations.append((message["path"], message["code"]))
            elif kind == "limit":
                outcome.limits.append(message)
            elif kind == "done":
                assert not until_removed or not self._file.read(1), "something follows done"
                outcome.stdout, outcome.stderr = self.streams["stdout"], self.streams["stderr"]
                return outcome
            else:
                assert kind == "output", message

    def _data(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            message, payload = self.receive()
            assert message["type"] == "data" and payload
            found += payload
        assert len(found) == size
        return found


def warm_up(path: Path, environment: str, runtime: str = "crun", cpu_percent: int = 100) -> None:
    """Wait until the template of such jobs is warm; Refused TEMPLATE_FAILED when it cannot be."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(150)
        connection.connect(str(path))
        request = {"type": "warm_up", "environment": environment, "runtime": runtime, "cpu_percent": cpu_percent}
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if answer["type"] != "warm":
        raise Refused(answer["code"], answer["message"])


def run(path: Path, environment: str, source: str, **request: Any) -> Outcome:
    """Run one Python source to the end."""
    with Client(path) as client:
        client.begin(environment, source, **request)
        return client.finish()
