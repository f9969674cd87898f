"""The accept loop's side: starts a keeper when a key is wanted, and cleans up after one that ends."""

import gc
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..bundle import Bundle
from ..cgroup import Hierarchy
from ..config import Config
from ..environment import find_rootfs, read_warm_imports
from ..errors import SandboxError
from ..ids import TEMPLATES_PER_INSTANCE, template_uid
from ..instance import State, remove_by_name
from ..log import log
from ..network import enter_loopback_network
from ..provisions import Provisions
from ..runtime import find_runtime, max_open_files, runtime_command
from .. import syscalls
from .keeper import Plan, run_keeper
from .key import TemplateKey
from .take import Templates
from .template import Place, Template
from .template_spec import build_template_spec

# Each holds some hundred megabytes of libraries.
_MAX_KEEPERS: Final = 4
# A template and those of its predecessors whose children still run each have a uid range of their own.
_RANGES_PER_KEEPER: Final = TEMPLATES_PER_INSTANCE // _MAX_KEEPERS
_RETRY_SECONDS: Final = 30.0
_MESSAGE_BYTES: Final = 4096


@dataclass
class _Running:
    key: TemplateKey
    number: int
    place: int
    wanted_at: float

    @property
    def child_prefix(self) -> str:
        """How the leaves of its children begin."""
        return f"warm_{self.number}_"


class Keepers:
    """At most a few, each for the key it was asked for; the one that was not wanted for longest makes room."""

    def __init__(self, config: Config, instance: str, state: State, hierarchy: Hierarchy, provisions: Provisions) -> None:
        self._config = config
        self._instance = instance
        self._state = state
        self._hierarchy = hierarchy
        self._provisions = provisions
        reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        reading.setblocking(False)
        self._wanted = reading
        self.templates = Templates(state.folder / "warm", writing, config.child_seconds)
        self._running: dict[int, _Running] = {}
        self._failed_at: dict[TemplateKey, float] = {}
        self._started = 0
        self._stopping = False

    def fileno(self) -> int:
        """Readable when a handler wants something."""
        return self._wanted.fileno()

    def advance(self, prepare_child: Callable[[], None]) -> None:
        """Read one wish; `prepare_child` makes a fork let go of what belongs to the accept loop."""
        try:
            key = TemplateKey.decode(self._wanted.recv(_MESSAGE_BYTES))
        except OSError:
            return
        now = time.monotonic()
        for running in self._running.values():
            if running.key == key:
                running.wanted_at = now
                return
        if now - self._failed_at.get(key, -_RETRY_SECONDS) < _RETRY_SECONDS:
            return
        if len(self._running) >= _MAX_KEEPERS:
            self._make_room()
            return
        self._start(key, now, prepare_child)

    def _make_room(self) -> None:
        """End the keeper that was not wanted for longest among those without jobs; its end is noticed, the next wish finds room."""
        taken = self._taken_leaves()
        idle = [pid for pid, running in self._running.items() if not any(name.startswith(running.child_prefix) for name in taken)]
        if idle:
            os.kill(min(idle, key=lambda pid: self._running[pid].wanted_at), signal.SIGKILL)

    def _taken_leaves(self) -> set[str]:
        """The leaves that handlers have noted as theirs; handlers come and go meanwhile."""
        found = set()
        for file in (self._state.folder / "run").glob("*/leaf"):
            with suppress(OSError):
                found.add(file.read_text())
        return found

    def _start(self, key: TemplateKey, now: float, prepare_child: Callable[[], None]) -> None:
        place = min(set(range(_MAX_KEEPERS)) - {running.place for running in self._running.values()})
        running = _Running(key, self._started, place, now)
        self.templates.failure(key).unlink(missing_ok=True)
        try:
            pid = os.fork()
        except OSError as error:
            log(f"fork: {error}")
            return
        if pid == 0:
            code = 1
            try:
                prepare_child()
                code = self._keep(running)
            except Exception as error:
                log(f"keeper: {type(error).__name__}: {error}")
            finally:
                os._exit(code)
        self._started += 1
        self._running[pid] = running

    def _keep(self, running: _Running) -> int:
        gc.freeze()
        syscalls.unshare(syscalls.CLONE_NEWNS)
        # A runtime that detaches leaves the container to us.
        syscalls.adopt_orphans()
        enter_loopback_network()

        def failed(reason: str) -> None:
            log(f"the template of {running.key.environment} failed: {reason}")
            self.templates.failure(running.key).write_text(reason or "no reason")

        return run_keeper(lambda: self._plan(running), failed)

    def _plan(self, running: _Running) -> Plan:
        key = running.key
        try:
            rootfs, imports = find_rootfs(self._config.environments, key.environment), read_warm_imports(self._config.environments, key.environment)
            runtime = find_runtime(key.runtime)
        except SandboxError as error:
            raise OSError(error.message) from error

        def start_template(generation: int, uid_range: int) -> Template:
            first_uid = template_uid(self._instance, running.place * _RANGES_PER_KEEPER + uid_range)
            name = f"template_{running.number}_{generation}"
            bundle = Bundle(self._state.folder / "run" / name, self._provisions.shim)
            bundle.create()
            bundle.attach_rootfs(rootfs)
            spec = build_template_spec(imports, key.threads, bundle.paths.rootfs, bundle.paths.shim, first_uid, max_open_files())
            bundle.write_spec(spec)
            executable = self._provisions.executables.get(runtime, runtime)
            # Named like its leaf: on v2 runc makes the group of the container's name next to its own, unless it is there.
            command = runtime_command(runtime, name, bundle.folder)
            place = Place(self._hierarchy, f"{running.child_prefix}{generation}", uid_range, first_uid)
            return Template.start(executable, command, self._hierarchy.create(name), place, bundle.folder)

        return Plan(
            start_template,
            lambda leaf: remove_by_name(self._hierarchy, leaf),
            self._config.ready_children,
            _RANGES_PER_KEEPER,
            self._config.children_per_template,
            str(self.templates.address(key)),
        )

    def on_exit(self, pid: int, status: int) -> bool:
        """Clean up after a process, if it was a keeper."""
        running = self._running.pop(pid, None)
        if running is None:
            return False
        if status != 0 and not self._stopping:
            log(f"the keeper of {running.key.environment} ended with wait status {status}")
        if os.WIFEXITED(status):
            self._failed_at[running.key] = time.monotonic()
        self._clean(running)
        return True

    def _clean(self, running: _Running) -> None:
        self.templates.address(running.key).unlink(missing_ok=True)
        mine = (f"template_{running.number}_", running.child_prefix)
        taken = self._taken_leaves()
        for name in self._hierarchy.leftovers():
            if name.startswith(mine) and name not in taken:
                try:
                    remove_by_name(self._hierarchy, name)
                except OSError as error:
                    log(f"cannot clean up {name}: {error}")
        for folder in (self._state.folder / "run").glob(f"template_{running.number}_*"):
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """End every keeper and its template."""
        self._stopping = True
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self.on_exit(pid, status)
