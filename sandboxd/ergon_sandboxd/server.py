"""The accept loop: PID 1 of sandboxd's namespaces. It forks a handler per connection and cleans up after those that die."""

import gc
import json
import os
import select
import signal
import socket
import struct
from typing import Final

from .bundle import install_shim
from .cgroup.detect import CgroupMounts
from .config import Config
from .handler import Service, handle
from .instance import State, clean_slot, instance_name, state_folder, sweep, take_lock
from .log import log
from .probe import essentials, find_hierarchy

# Beyond the sandboxes, so that a probe and a polite BUSY are possible while all run.
_SPARE_CONNECTIONS: Final = 16
_CREDENTIALS: Final = struct.Struct("3i")
# EX_NOPERM: what the host lacks is found here, not by a job.
CANNOT_ISOLATE: Final = 77


_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _wake_up_only(number: int, frame: object) -> None:
    """The wake-up descriptor carries the signal to the loop."""


class Server:
    """Listens until SIGTERM or SIGINT."""

    def __init__(self, service: Service, listener: socket.socket) -> None:
        self._service = service
        self._listener = listener
        self._slots: dict[int, int] = {}
        self._free = list(range(service.config.max_sandboxes + _SPARE_CONNECTIONS))
        self._stopping = False

    def run(self) -> None:
        """Serve, then kill what runs and remove everything."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGCHLD, *_STOP_SIGNALS):
            signal.signal(number, _wake_up_only)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        self._announce()
        while not self._stopping:
            poller = select.poll()
            poller.register(reading, select.POLLIN)
            if self._free:
                # Out of places, connections wait in the bounded backlog instead of being dropped.
                poller.register(self._listener, select.POLLIN)
            for fd, _ in poller.poll():
                if fd == reading:
                    self._on_signals(os.read(reading, 4096))
                else:
                    self._accept()
        self._stop()

    def _announce(self) -> None:
        try:
            print(json.dumps({"ready": True, "socket": str(self._service.config.socket)}), flush=True)
        except OSError:
            log("nobody reads the ready line")

    def _on_signals(self, numbers: bytes) -> None:
        self._stopping = any(number in numbers for number in _STOP_SIGNALS)
        self._reap()

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

    def _release(self, slot: int, status: int) -> None:
        if status != 0:
            log(f"a handler ended with wait status {status}")
        try:
            clean_slot(self._service.state, self._service.hierarchy, slot)
        except OSError as error:
            # The slot stays taken: its uid range may still be in use.
            log(f"cannot clean up slot {slot}: {error}")
            return
        self._free.append(slot)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client:
            uid = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
            if uid not in (0, self._service.config.worker_uid):
                return
            slot = self._free.pop(0)
            try:
                pid = os.fork()
            except OSError as error:
                log(f"fork: {error}")
                self._free.append(slot)
                return
            if pid == 0:
                self._become_handler(client, slot)
            self._slots[pid] = slot

    def _become_handler(self, client: socket.socket, slot: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, *_STOP_SIGNALS):
                signal.signal(number, signal.SIG_DFL)
            self._listener.close()
            handle(client, slot, self._service)
            code = 0
        except Exception as error:
            log(f"handler: {type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _stop(self) -> None:
        self._listener.close()
        self._service.config.socket.unlink(missing_ok=True)
        for pid in list(self._slots):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._release(self._slots.pop(pid), 0)


def _listen(config: Config) -> socket.socket:
    config.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
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
    install_shim(state.folder / "shim")
    listener = _listen(config)
    # Handlers are forks: frozen objects are not touched by their collector, so the pages stay shared.
    gc.collect()
    gc.freeze()
    try:
        Server(Service(config, instance, state, hierarchy, state.folder / "shim"), listener).run()
    finally:
        state.unmount()
        hierarchy.remove()
        os.close(lock)
    return 0
