"""PID 1 of sandboxd's namespaces: it keeps handlers waiting for connections and cleans up after those that die."""

import gc
import json
import mmap
import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import Final

from .cgroup.detect import CgroupMounts
from .config import Config
from .handler import Service, handle
from .instance import State, clean_slot, instance_name, state_folder, sweep, take_lock
from .log import log
from .namespaces import OwnNamespaces
from .probe import essentials, find_hierarchy
from .provisions import Provisions
from .warm.keepers import Keepers

# Beyond the sandboxes, so that a probe and a polite BUSY are possible while all run.
_SPARE_CONNECTIONS: Final = 16
# Waiting in accept: forked ahead, so that no connection waits for a fork.
_READY_HANDLERS: Final = 2
# Then a handler makes room for a fresh one, whatever its memory has come to look like.
_CONNECTIONS_PER_HANDLER: Final = 1000
_PAUSE_SECONDS: Final = 0.1
_CREDENTIALS: Final = struct.Struct("3i")
# What each slot's handler does.
_NONE, _READY, _BUSY = 0, 1, 2
_CALL: Final = b"!"
# Two that take connections in the same moment may each see the other as ready, and neither call.
_LOOK_SECONDS: Final = 1.0
# EX_NOPERM: what the host lacks is found here, not by a job.
CANNOT_ISOLATE: Final = 77

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _wake_up_only(number: int, frame: object) -> None:
    """The wake-up descriptor carries the signal to the loop."""


class Server:
    """Keeps handlers until SIGTERM or SIGINT."""

    def __init__(self, service: Service, listener: socket.socket, keepers: Keepers) -> None:
        self._service = service
        self._keepers = keepers
        self._listener = listener
        self._slots: dict[int, int] = {}
        slots = service.config.max_sandboxes + _SPARE_CONNECTIONS
        self._free = list(range(slots))
        # Shared with the handlers: to be told twice of each job would cost this loop more than the handlers' own accounting.
        self._states = mmap.mmap(-1, slots)
        self._calls, self._call = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._own = OwnNamespaces()
        self._fork_after = 0.0
        self._lost_slots = 0
        self._stopping = False

    def run(self) -> None:
        """Serve, then kill what runs and remove everything."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGCHLD, *_STOP_SIGNALS):
            signal.signal(number, _wake_up_only)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        self._keep_ready()
        self._announce()
        poller = select.poll()
        poller.register(reading, select.POLLIN)
        poller.register(self._calls, select.POLLIN)
        poller.register(self._keepers, select.POLLIN)
        while not self._stopping:
            for fd, _ in poller.poll((_LOOK_SECONDS if self._has_enough() else _PAUSE_SECONDS) * 1000):
                if fd == reading:
                    self._on_signals(os.read(reading, 4096))
                elif fd == self._keepers.fileno():
                    self._keepers.advance(self._become_keeper)
                else:
                    os.read(self._calls, 4096)
            self._keep_ready()
        self._stop()
        if self._has_lost_too_many():
            raise OSError(f"{self._lost_slots} sandboxes could not be removed, so there are not slots enough for all places")

    def _has_lost_too_many(self) -> bool:
        return self._lost_slots > _SPARE_CONNECTIONS

    def _announce(self) -> None:
        try:
            print(json.dumps({"ready": True, "socket": str(self._service.config.socket)}), flush=True)
        except OSError:
            log("nobody reads the ready line")

    def _on_signals(self, numbers: bytes) -> None:
        self._stopping = any(number in numbers for number in _STOP_SIGNALS)
        self._reap()

    def _has_enough(self) -> bool:
        # Out of places, connections wait in the bounded backlog instead of being dropped.
        return self._ready_handlers() >= _READY_HANDLERS or not self._free

    def _ready_handlers(self) -> int:
        return self._states[:].count(_READY)

    def _keep_ready(self) -> None:
        while not self._has_enough() and time.monotonic() >= self._fork_after:
            slot = self._free.pop(0)
            self._states[slot] = _READY
            try:
                pid = os.fork()
            except OSError as error:
                log(f"fork: {error}")
                self._states[slot] = _NONE
                self._free.insert(0, slot)
                self._pause()
                return
            if pid == 0:
                self._become_handler(slot)
            self._slots[pid] = slot

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # As PID 1 we also inherit orphans of dead handlers: those have no slot.
            if pid in self._slots:
                self._release(self._slots.pop(pid), status)
            else:
                self._keepers.on_exit(pid, status)

    def _release(self, slot: int, status: int) -> None:
        self._states[slot] = _NONE
        if status != 0:
            log(f"a handler ended with wait status {status}")
            self._pause()
        try:
            clean_slot(self._service.state, self._service.hierarchy, slot)
        except OSError as error:
            # The slot stays taken: its uid range may still be in use.
            log(f"cannot clean up slot {slot}: {error}")
            self._lost_slots += 1
            # The next start removes what this one cannot, or says what it is.
            self._stopping = self._stopping or self._has_lost_too_many()
            return
        self._free.append(slot)

    def _pause(self) -> None:
        """What makes one fork or handler fail may do so with the next: not as fast as a machine can."""
        self._fork_after = time.monotonic() + _PAUSE_SECONDS

    def _become_child(self) -> None:
        """Let go, in a fork, of what belongs to the accept loop."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_STOP_SIGNALS):
            signal.signal(number, signal.SIG_DFL)

    def _become_keeper(self) -> None:
        self._become_child()
        self._listener.close()

    def _become_handler(self, slot: int) -> None:
        code = 1
        try:
            self._become_child()
            self._serve_connections(slot)
            code = 0
        except Exception as error:
            log(f"handler: {type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _serve_connections(self, slot: int) -> None:
        """Serve one after the other, until one did not end as it should: nothing of it must reach the next."""
        for _ in range(_CONNECTIONS_PER_HANDLER):
            client, _ = self._listener.accept()
            self._states[slot] = _BUSY
            if self._ready_handlers() < _READY_HANDLERS:
                self._call_for_more()
            if not self._is_allowed(client):
                client.close()
            elif not handle(client, slot, self._service, self._own):
                return
            self._states[slot] = _READY

    def _call_for_more(self) -> None:
        # A full pipe calls loudly enough.
        with suppress(BlockingIOError):
            os.write(self._call, _CALL)

    def _is_allowed(self, client: socket.socket) -> bool:
        uid = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
        return uid in (0, self._service.config.worker_uid)

    def _stop(self) -> None:
        self._listener.close()
        self._service.config.socket.unlink(missing_ok=True)
        for pid in list(self._slots):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._release(self._slots.pop(pid), 0)
        self._keepers.stop()


def _listen(config: Config) -> socket.socket:
    config.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(config.socket))
    os.chown(config.socket, 0, config.worker_gid)
    os.chmod(config.socket, 0o660)
    listener.listen(64)
    return listener


def serve(config: Config, mounts: CgroupMounts) -> int:
    """Run sandboxd inside its namespaces; returns the exit status."""
    instance = instance_name(config.socket)
    try:
        lock = take_lock(config, instance)
    except BlockingIOError:
        log(f"another sandboxd serves {config.socket}")
        return 75
    hierarchy = find_hierarchy(instance, config, mounts)
    missing = essentials(hierarchy, config)
    if isinstance(hierarchy, OSError) or missing:
        for entry in missing:
            log(f"{entry['capability']}: {entry['detail']}; {entry['remedy']}")
        return CANNOT_ISOLATE
    sweep(hierarchy)
    state = State(state_folder(config, instance))
    state.mount()
    provisions = Provisions.prepare(state.folder)
    listener = _listen(config)
    # Handlers are forks: frozen objects are not touched by their collector, so the pages stay shared.
    gc.collect()
    gc.freeze()
    try:
        keepers = Keepers(config, instance, state, hierarchy, provisions)
        service = Service(config, instance, state, hierarchy, provisions, keepers.templates)
        Server(service, listener, keepers).run()
    finally:
        state.unmount()
        hierarchy.remove()
        os.close(lock)
    return 0
