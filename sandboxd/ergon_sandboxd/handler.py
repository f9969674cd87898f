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

from . import syscalls
from .bundle import Bundle
from .cgroup import Hierarchy, Leaf, LeafLimits, kill_until_empty, remove_leaf
from .collect import Collection
from .config import Config
from .connection import Connection
from .denials import DenialCounter
from .environment import find_rootfs
from .errors import Disconnected, SandboxError
from .evidence import Evidence, describe_exit
from .ids import JOB_UID
from .inputs import IDLE_SECONDS, Cancelled, receive_inputs
from .instance import STOP_PATIENCE_SECONDS, State, host_uid
from .log import log
from .messages import ProbeRequest, RunRequest, parse_request
from .network import enter_empty_network
from .oci_spec import build_spec
from .probe import probe
from .runtime import ROOT_FLAGS, RUNTIME_MEMORY_BYTES, RUNTIME_PIDS, adapt_spec, find_runtime, max_open_files, start_runtime
from .supervise import Supervisor
from .workspace import Workspace

_LINGER_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Service:
    """What every handler inherits from the accept loop."""

    config: Config
    instance: str
    state: State
    hierarchy: Hierarchy
    shim: Path


def handle(sock: socket.socket, slot: int, service: Service) -> None:
    """Serve one connection completely; every failure is told to the client if it still listens."""
    connection = Connection(sock)
    try:
        try:
            request = parse_request(connection.receive(IDLE_SECONDS, time.monotonic() + 2 * IDLE_SECONDS))
            if isinstance(request, ProbeRequest):
                connection.send({"type": "probe_result", **probe(service.hierarchy, service.config)})
            elif isinstance(request, RunRequest):
                Sandbox(connection, request, slot, service).run()
            else:
                raise SandboxError("PROTOCOL", "the first message must be probe or run")
        except SandboxError as error:
            connection.send({"type": "error", "code": error.code, "message": error.message})
            connection.linger(_LINGER_SECONDS)
        except Disconnected:
            raise
        except Exception as error:
            log(traceback.format_exc())
            connection.send({"type": "error", "code": "INTERNAL", "message": f"sandboxd failed: {type(error).__name__}"})
    except Disconnected:
        pass
    finally:
        connection.close()


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

    def __init__(self, connection: Connection, request: RunRequest, slot: int, service: Service) -> None:
        self._connection = connection
        self._request = request
        self._service = service
        self._first_uid = host_uid(service.instance, slot)
        self._bundle = Bundle(service.state.slot_folder(slot), service.shim)
        self._place: int | None = None
        self._leaf: Leaf | None = None
        self._workspace: Workspace | None = None
        self._denials: DenialCounter | None = None

    def run(self) -> None:
        """Run to `done`, or raise after everything was removed."""
        try:
            self._run()
        finally:
            self._remove()
        self._connection.send({"type": "done"})

    def _run(self) -> None:
        request, service = self._request, self._service
        runtime = find_runtime(request.runtime)
        rootfs = find_rootfs(service.config.environments, request.environment)
        self._place = take_place(service.state.folder / "places", service.config.max_sandboxes)
        self._bundle.create()
        leaf = self._make_leaf()
        workspace = self._workspace = Workspace(request.limits, self._first_uid + JOB_UID)
        # Before the network: a socket of the sandbox's namespace would show its path to the job.
        denials = self._denials = DenialCounter(self._bundle.paths.listener)
        self._connection.send({"type": "accepted"})
        # While the inputs are on their way: it takes a millisecond.
        enter_empty_network()
        try:
            receive_inputs(self._connection, request, workspace.inputs)
        except Cancelled:
            self._connection.send(Evidence(describe_exit(None), "client").as_message())
            return
        evidence = self._supervise(runtime, rootfs, leaf, workspace, denials)
        self._connection.send(evidence.as_message())
        if evidence.killed_by != "client":
            Collection(workspace.files.fd, request.limits, self._connection.send).run()

    def _make_leaf(self) -> Leaf:
        limits = self._request.limits
        name = self._request.id
        try:
            leaf = self._service.hierarchy.create(name)
        except FileExistsError as error:
            raise SandboxError("PROTOCOL", f"a sandbox with the id {name} exists already") from error
        self._leaf = leaf
        # Only now: a name written before the leaf is ours could make a crash clean up somebody else's.
        self._bundle.name_leaf(name)
        runtime = self._request.runtime
        leaf.set_limits(LeafLimits(limits.memory_bytes + RUNTIME_MEMORY_BYTES[runtime], limits.pids + RUNTIME_PIDS[runtime]))
        return leaf

    def _supervise(self, runtime: str, rootfs: Path, leaf: Leaf, workspace: Workspace, denials: DenialCounter) -> Evidence:
        request = self._request
        # Our mounts must be visible to our runtime alone, and must go when this process goes.
        syscalls.unshare(syscalls.CLONE_NEWNS)
        self._bundle.attach(rootfs, workspace, ROOT_FLAGS[request.runtime])
        paths = self._bundle.paths
        spec = build_spec(request, paths, self._first_uid, max_open_files())
        self._bundle.write_spec(adapt_spec(request.runtime, spec, self._bundle.folder, request.limits.disk_bytes))
        # A runtime that detaches leaves init to us.
        syscalls.adopt_orphans()
        with closing(start_runtime(runtime, request.id, self._bundle.folder, leaf, self._first_uid)) as process:
            return Supervisor(self._connection, process, leaf, workspace, denials, request.limits, request.on_output_limit).run()

    def _remove(self) -> None:
        leaf = self._leaf
        if leaf is not None and not kill_until_empty(leaf, STOP_PATIENCE_SECONDS, between=_reap_any):
            raise OSError("the sandbox's processes cannot be killed")
        if self._denials is not None:
            self._denials.close()
        self._bundle.remove()
        if self._workspace is not None:
            self._workspace.close()
        if leaf is not None and not remove_leaf(leaf, STOP_PATIENCE_SECONDS):
            raise OSError("the sandbox's cgroup cannot be removed")
        # Before `done`: a client that starts its next sandbox at once must find the place free.
        if self._place is not None:
            os.close(self._place)


def _reap_any() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
