"""Watching one sandbox from the runtime's start until its last process is gone: one poll loop, no threads."""

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final, Literal

from .cgroup import Leaf, LeafLimits, kill_until_empty
from .connection import Connection
from .denials import DenialCounter
from .errors import Disconnected, SandboxError
from .evidence import Counters, Evidence, KilledBy, describe_exit
from .limits import Limits
from .messages import Kill, parse_request
from .network import count_attempts
from .process import SandboxProcess
from .report import MAX_REPORT_BYTES, parse_report
from .streams import OutputStream
from .workspace import Workspace

SAMPLE_SECONDS: Final = 0.1
START_SECONDS: Final = 30.0
KILL_SECONDS: Final = 30.0
# Beyond this many unsent bytes the job's pipes are left full, so that the job waits and not our memory grows.
_HIGH_WATER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 65_536
_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class Supervisor:
    """The supervision of one started runtime."""

    def __init__(
        self,
        connection: Connection,
        process: SandboxProcess,
        leaf: Leaf,
        workspace: Workspace,
        denials: DenialCounter,
        limits: Limits,
        on_output_limit: Literal["kill", "truncate"],
        *,
        has_uplink: bool = False,
    ) -> None:
        self._connection = connection
        self._process = process
        self._leaf = leaf
        self._workspace = workspace
        self._denials = denials
        self._limits = limits
        self._on_output_limit = on_output_limit
        self._has_uplink = has_uplink
        self._streams = {
            process.stdout: OutputStream("stdout", limits.stdout_bytes),
            process.stderr: OutputStream("stderr", limits.stderr_bytes),
        }
        # Status first: `started` must reach the client before the first output.
        self._open = dict.fromkeys((process.status, process.report, process.stdout, process.stderr))
        self._status = bytearray()
        self._report = bytearray()
        self._counters = Counters()
        self._killed_by: KilledBy | None = None
        self._began = time.monotonic()
        self._started_at: float | None = None
        self._runtime_cpu_ms = 0
        self._next_sample = self._began + SAMPLE_SECONDS
        self._client_reads = True
        self._ended = False
        self._is_lost = False

    def run(self) -> Evidence:
        """Watch until the leaf is empty; SandboxError RUNTIME_FAILED when the job's init never ran."""
        # A kill may have come along with start: the socket would not tell of it again.
        self._take_requests()
        while not self._ended and self._killed_by is None:
            self._poll_once()
        ended_at = time.monotonic()
        # What is reported after this is what our own signal did.
        told = len(self._status) if self._killed_by is not None else None
        self._counters.pids_refused = self._leaf.pids_refused()
        self._is_lost = self._killed_by is None and self._process.is_ending()
        if not kill_until_empty(self._leaf, KILL_SECONDS, between=self._reap, wait=self._process.wait_for_end):
            raise SandboxError("INTERNAL", "processes of the sandbox survived SIGKILL")
        self._drain()
        if told is not None:
            del self._status[told:]
        if self._started_at is None and self._killed_by is None:
            self._check_client_gone()
            raise SandboxError("RUNTIME_FAILED", f"the sandbox could not be started: {self._process.failure()}")
        self._sample_volumes()
        evidence = self._evidence(ended_at)
        if evidence.exit["kind"] == "unknown" and evidence.killed_by is None:
            self._process.check_foundation()
        return evidence

    def _reap(self) -> None:
        self._process.reap()

    def _check_client_gone(self) -> None:
        if not self._client_reads:
            raise Disconnected("closed")

    def _poll_once(self) -> None:
        handlers = self._wanted()
        poller = select.poll()
        for fd, (events, _) in handlers.items():
            poller.register(fd, events)
        for fd, events in poller.poll(max(0.0, self._next_sample - time.monotonic()) * 1000):
            handlers[fd][1](fd, events)
        now = time.monotonic()
        if now >= self._next_sample:
            self._sample(now)

    def _wanted(self) -> dict[int, tuple[int, Callable[[int, int], object]]]:
        handlers: dict[int, tuple[int, Callable[[int, int], object]]] = {}
        outgoing = select.POLLOUT if self._connection.pending_bytes else 0
        handlers[self._connection.fileno()] = (select.POLLIN | outgoing, self._on_client)
        if self._process.exit_code is None:
            handlers[self._process.pidfd] = (select.POLLIN, self._on_runtime_exit)
        denials = self._denials.fileno()
        if denials is not None:
            handlers[denials] = (select.POLLIN, self._on_denial)
        for fd in self._open:
            if fd in self._streams and self._connection.pending_bytes >= _HIGH_WATER_BYTES:
                continue
            handlers[fd] = (select.POLLIN, self._on_pipe)
        return handlers

    def _on_runtime_exit(self, fd: int, events: int) -> None:
        self._process.reap()
        self._ended = self._ended or self._process.is_over
        self._begin()

    def _begin(self) -> None:
        """Let the job begin, with its own limits, once init runs and the runtime has done its part."""
        if self._started_at is not None or b"started\n" not in self._status or not self._process.has_started:
            return
        self._started_at = time.monotonic()
        # What the runtime needed to start, processes and some 50 ms of CPU time, is not the job's, and a small share must not
        # slow it down.
        if not self._process.is_limited:
            self._limit()
        self._runtime_cpu_ms = self._leaf.cpu_ms()
        self._queue({"type": "started", "isolation": self._process.isolation})
        self._process.let_job_begin()

    def _limit(self) -> None:
        self._leaf.limit_cpu(self._limits.cpu_percent)
        self._leaf.set_limits(LeafLimits(self._limits.memory_bytes + self._process.companion_bytes, self._limits.pids + self._process.companions))

    def _on_denial(self, fd: int, events: int) -> None:
        self._denials.advance(events)

    def _on_client(self, fd: int, events: int) -> None:
        try:
            if events & select.POLLOUT:
                self._connection.push()
            if not events & _READABLE:
                return
            open_still = self._connection.pull()
            self._take_requests()
            if not open_still:
                raise Disconnected("closed")
        except Disconnected:
            self._client_reads = False
            self._kill("client")

    def _take_requests(self) -> None:
        while (frame := self._connection.next_frame()) is not None:
            if not isinstance(parse_request(frame), Kill):
                raise SandboxError("PROTOCOL", "only kill may follow start")
            self._kill("client")

    def _on_pipe(self, fd: int, events: int) -> bool:
        """Read once; False when nothing was there."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._open.pop(fd, None)
            self._ended = self._ended or fd == self._process.status
        elif fd == self._process.status:
            self._on_status(data)
        elif fd == self._process.report:
            self._on_report(fd, data)
        else:
            self._on_output(self._streams[fd], data)
        return bool(data)

    def _on_status(self, data: bytes) -> None:
        self._status += data
        self._begin()
        if b"exit " in self._status and self._status.endswith(b"\n"):
            # PID 1 is ending: whatever it orphaned dies with it, and nobody waits for a pipe it left open.
            self._ended = True

    def _on_report(self, fd: int, data: bytes) -> None:
        self._report += data
        if len(self._report) > MAX_REPORT_BYTES:
            # The job can write here for ever; it may as well wait for ever.
            self._open.pop(fd, None)

    def _on_output(self, stream: OutputStream, data: bytes) -> None:
        offset, kept = stream.accept(data)
        if kept:
            self._queue({"type": "output", "stream": stream.name, "offset": offset}, kept)
        if stream.truncated and self._on_output_limit == "kill":
            self._kill(stream.kill_cause)

    def _queue(self, message: dict[str, str | int], payload: bytes = b"") -> None:
        if not self._client_reads:
            return
        self._connection.queue(message, payload)
        try:
            self._connection.push()
        except Disconnected:
            self._client_reads = False
            self._kill("client")

    def _kill(self, cause: KilledBy) -> None:
        self._killed_by = self._killed_by or cause

    def _wall_ms(self, now: float) -> int:
        return 0 if self._started_at is None else int((now - self._started_at) * 1000)

    def _cpu_ms(self) -> int:
        return 0 if self._started_at is None else self._leaf.cpu_ms() - self._runtime_cpu_ms

    def _sample(self, now: float) -> None:
        limits, wall_ms, cpu_ms = self._limits, self._wall_ms(now), self._cpu_ms()
        self._sample_volumes()
        self._leaf.memory_peak_bytes()
        if self._started_at is None and now - self._began > START_SECONDS:
            self._ended = True
        if self._leaf.oom_kills() > 0:
            self._kill("memory")
        elif wall_ms >= limits.wall_ms:
            self._kill("wall")
        elif cpu_ms >= limits.cpu_ms:
            self._kill("cpu")
        # Look earlier when a clock may strike earlier; CPU time can pass faster than wall time by the cores used.
        cores = max(1.0, limits.cpu_percent / 100)
        until_limit = min((limits.wall_ms - wall_ms) / 1000, (limits.cpu_ms - cpu_ms) / 1000 / cores)
        self._next_sample = now + min(SAMPLE_SECONDS, max(0.002, until_limit))

    def _sample_volumes(self) -> None:
        for volume in self._workspace.job_volumes:
            usage = volume.usage()
            self._counters.disk_peak_bytes = max(self._counters.disk_peak_bytes, usage.size_bytes)
            self._counters.disk_peak_files = max(self._counters.disk_peak_files, usage.files)

    def _drain(self) -> None:
        # Every writer is dead, so each pipe ends after at most its capacity.
        for fd in list(self._open):
            while fd in self._open and self._on_pipe(fd, select.POLLIN):
                pass

    def _wait_status(self) -> int | None:
        for line in bytes(self._status).decode("ascii", errors="replace").splitlines():
            word, _, number = line.partition(" ")
            if word == "exit" and number.isdigit():
                # SIGKILL is what the kernel sends when init has ended.
                return None if self._is_lost and os.WTERMSIG(int(number)) == signal.SIGKILL else int(number)
        return None

    def _evidence(self, ended_at: float) -> Evidence:
        counters = self._counters
        counters.wall_ms = self._wall_ms(ended_at)
        counters.cpu_ms = self._cpu_ms()
        counters.memory_peak_bytes = self._leaf.memory_peak_bytes()
        counters.oom_kills = self._leaf.oom_kills()
        counters.network_attempts = count_attempts(counts_ipv6=not self._has_uplink)
        counters.allocation_refused_bytes = self._denials.refused_allocation_bytes
        if counters.oom_kills > 0:
            # The kernel may strike between two samples; the verdict must not depend on who noticed first.
            self._kill("memory")
        out, err = self._streams[self._process.stdout], self._streams[self._process.stderr]
        counters.stdout_bytes, counters.stderr_bytes = out.read_bytes, err.read_bytes
        return Evidence(
            exit=describe_exit(self._wait_status()),
            killed_by=self._killed_by,
            counters=counters,
            truncated={"stdout": out.truncated, "stderr": err.truncated},
            denied_syscalls=dict(sorted(self._denials.counts.items())),
            report=parse_report(bytes(self._report)),
        )
