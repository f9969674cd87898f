"""One connection from its first message to its last: runs in a process of its own."""

import fcntl
import os
import socket
import time
import traceback
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .bundle import Bundle
from .cgroup import Hierarchy, kill_until_empty, remove_leaf
from .collect import Collection
from .config import Config
from .connection import Connection
from .environment import find_rootfs
from .errors import Disconnected, SandboxError
from .evidence import Evidence, describe_exit
from .inputs import IDLE_SECONDS, Cancelled, receive_inputs
from .instance import STOP_PATIENCE_SECONDS, State, host_uid
from .log import log
from .messages import ProbeRequest, PythonEntry, RunRequest, WarmUpRequest, parse_request
from .namespaces import OwnNamespaces
from .probe import probe
from .provisions import Provisions
from .runtime import find_runtime
from .start import Start
from .start_fresh import FreshStart
from .uplink.permission import permit_uplink
from .supervise import Supervisor
from .warm.key import can_be_warm, template_key
from .warm.start_warm import WarmStart
from .warm.take import Templates
from .workspace import Workspace

_LINGER_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Service:
    """What every handler inherits from the accept loop."""

    config: Config
    instance: str
    state: State
    hierarchy: Hierarchy
    provisions: Provisions
    templates: Templates


def handle(sock: socket.socket, slot: int, service: Service, own: OwnNamespaces) -> bool:
    """Serve one connection completely; every failure is told to the client if it still listens.

    True when it ended as it should, and this process is as it was before.
    """
    connection = Connection(sock)
    sandbox: Sandbox | None = None
    try:
        try:
            request = parse_request(connection.receive(IDLE_SECONDS, time.monotonic() + 2 * IDLE_SECONDS))
            if isinstance(request, ProbeRequest):
                connection.send({"type": "probe_result", **probe(service.hierarchy, service.config)})
            elif isinstance(request, RunRequest):
                sandbox = Sandbox(connection, request, slot, service, own)
                sandbox.run()
            elif isinstance(request, WarmUpRequest):
                find_runtime(request.runtime)
                find_rootfs(service.config.environments, request.environment)
                if not can_be_warm(request.runtime, request.cpu_percent):
                    raise SandboxError("TEMPLATE_FAILED", f"{request.runtime} with {request.cpu_percent} % CPU has no warm templates on this host; such jobs get containers of their own")
                service.templates.warm_up(template_key(request.environment, request.runtime, request.cpu_percent))
                connection.send({"type": "warm"})
            else:
                raise SandboxError("PROTOCOL", "the first message must be probe, warm_up or run")
            return True
        except SandboxError as error:
            connection.send({"type": "error", "code": error.code, "message": error.message})
            connection.linger(_LINGER_SECONDS)
        except Disconnected:
            raise
        except Exception as error:
            log(traceback.format_exc())
            if sandbox is None or not sandbox.is_done:
                connection.send({"type": "error", "code": "INTERNAL", "message": f"sandboxd failed: {type(error).__name__}"})
    except Disconnected:
        pass
    finally:
        connection.close()
    return False


def take_place(places: Path, count: int) -> int:
    """Return a held descriptor of a free place; SandboxError BUSY when all are taken. The kernel frees it at our end."""
    for number in range(count):
        place = os.open(places / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return place
        except BlockingIOError:
            os.close(place)
    raise SandboxError("BUSY", f"all {count} sandboxes are in use")


class Sandbox:
    """The life of one sandbox: prepare, receive, run, collect, remove."""

    def __init__(self, connection: Connection, request: RunRequest, slot: int, service: Service, own: OwnNamespaces) -> None:
        self._connection = connection
        self._request = request
        self._service = service
        self._own = own
        self._first_host_uid = host_uid(service.instance, slot)
        # Before anything of it exists.
        self._uplink = permit_uplink(request, service.config, service.instance, slot)
        self._bundle = Bundle(service.state.slot_folder(slot), service.provisions.shim)
        # All that the client is told has been said.
        self.is_done = False
        self._place: int | None = None
        self._start: Start | None = None
        self._workspace: Workspace | None = None

    def run(self) -> None:
        """Run to `done`, or raise after everything was removed."""
        try:
            self._run()
            # A client that starts its next sandbox at once must find the place free.
            self._give_up_place()
            self.is_done = True
            # What it does not take now waits: beyond its place a sandbox has only the time of its removal.
            self._connection.queue({"type": "done"})
            self._connection.push()
        finally:
            # No process is left, and no client waits: the kernel takes its time over mounts and cgroups.
            self._remove()
        self._connection.flush()

    def _run(self) -> None:
        request = self._request
        runtime = find_runtime(request.runtime)
        rootfs = find_rootfs(self._service.config.environments, request.environment)
        self._place = take_place(self._service.state.folder / "places", self._service.config.max_sandboxes)
        start = self._start = self._prepare(runtime, rootfs)
        workspace = self._workspace = start.make_workspace()
        self._connection.send({"type": "accepted"})
        # While the inputs are on their way: it takes a millisecond.
        start.enter_network()
        try:
            receive_inputs(self._connection, request, workspace.inputs)
        except Cancelled:
            # The ready child of a template waits there, and init.
            if not kill_until_empty(start.leaf, STOP_PATIENCE_SECONDS, between=_reap_any):
                raise OSError("the sandbox's processes cannot be killed") from None
            self._connection.send(Evidence(describe_exit(None), "client").as_message())
            return
        evidence = self._supervise(start, workspace)
        self._connection.send(evidence.as_message())
        if evidence.killed_by != "client" and request.workspace == "read_write":
            Collection(workspace.files.fd, request.limits, self._connection.send).run()

    def _prepare(self, runtime: str, rootfs: Path) -> Start:
        request, hierarchy = self._request, self._service.hierarchy
        if _wants_warm(request) and can_be_warm(request.runtime, request.limits.cpu_percent):
            key = template_key(request.environment, request.runtime, request.limits.cpu_percent)
            offer = self._service.templates.take(key)
            start = None if offer is None else WarmStart.accept(request, offer, self._bundle, hierarchy)
            if start is not None:
                return start
        # Also while a template is still importing: a container of its own is never the weaker isolation.
        return FreshStart(request, runtime, rootfs, self._bundle, hierarchy, self._service.provisions, self._first_host_uid, self._uplink)

    def _supervise(self, start: Start, workspace: Workspace) -> Evidence:
        request = self._request
        with closing(start.start(workspace)) as process:
            uplink = request.network.level == "uplink"
            return Supervisor(self._connection, process, start.leaf, workspace, start.denials, request.limits, request.on_output_limit, has_uplink=uplink).run()

    def _give_up_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            os.close(place)

    def _remove(self) -> None:
        start = self._start
        if start is not None:
            if not kill_until_empty(start.leaf, STOP_PATIENCE_SECONDS, between=_reap_any):
                raise OSError("the sandbox's processes cannot be killed")
            if not remove_leaf(start.leaf, STOP_PATIENCE_SECONDS):
                raise OSError("the sandbox's cgroup cannot be removed")
            self._bundle.forget_leaf()
        self._give_up_place()
        # One wait for the kernel, where an unmount of each volume would be five.
        self._own.come_back()
        if start is not None:
            start.remove()
        if self._workspace is not None:
            self._workspace.close()
        # A process leaves its cgroup a moment before its parent can collect it.
        if not _reap_all(STOP_PATIENCE_SECONDS):
            raise OSError("a process of the sandbox has left its cgroup and does not end")


def _wants_warm(request: RunRequest) -> bool:
    """Whether a template's child would be what was asked for: it is Python, has a loopback and may write to its workspace."""
    is_usual = request.network.level == "loopback" and request.workspace == "read_write"
    return request.isolation == "warm" and isinstance(request.entry, PythonEntry) and is_usual


def _reap_any() -> bool:
    """Collect the children that have ended; True when none is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _reap_all(timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not _reap_any():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0003)
    return True
