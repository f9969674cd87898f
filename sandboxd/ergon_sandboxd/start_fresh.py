"""A container of the job's own, made by the OCI runtime."""

import time
from pathlib import Path
from typing import Final

from . import syscalls
from .bundle import Bundle
from .cgroup import Hierarchy, Leaf, LeafLimits
from .denials import DenialCounter
from .errors import SandboxError
from .ids import JOB_UID
from .messages import RunRequest
from .network import enter_loopback_network, enter_no_network, enter_uplink_network
from .oci_spec import build_spec
from .provisions import Provisions
from .runtime import ROOT_FLAGS, RUNTIME_MEMORY_BYTES, RUNTIME_PIDS, TAKES_PROGRAM, RuntimeProcess, adapt_spec, max_open_files, start_runtime
from .uplink.namespaces import OwnedNetwork
from .uplink.permission import UplinkPermission
from .uplink.process import UPLINK_MEMORY_BYTES, UPLINK_PIDS, Uplink, UplinkSite
from .workspace import Workspace

# A sandbox that is done has its leaf, without a process, for some milliseconds more.
_REMOVAL_SECONDS: Final = 2.0


class FreshStart:
    """Takes some ten milliseconds, and shares nothing with any other job but the environment's files."""

    def __init__(
        self, request: RunRequest, runtime: str, rootfs: Path, bundle: Bundle, hierarchy: Hierarchy, provisions: Provisions, first_host_uid: int,
        uplink: UplinkPermission | None = None,
    ) -> None:
        self._request = request
        self._runtime = runtime
        self._rootfs = rootfs
        self._bundle = bundle
        self._provisions = provisions
        self._first_host_uid = first_host_uid
        self._permission = uplink
        self._owned: OwnedNetwork | None = None
        self._uplink: Uplink | None = None
        bundle.create()
        self.leaf = self._make_leaf(hierarchy)
        # Before the network: a socket of the sandbox's namespace would show its path to the job.
        self.denials = DenialCounter.listen(bundle.paths.listener)

    def _make_leaf(self, hierarchy: Hierarchy) -> Leaf:
        limits, name = self._request.limits, self._request.id
        leaf = _create_leaf(hierarchy, name)
        # Only now: a name written before the leaf is ours could make a crash clean up somebody else's.
        self._bundle.name_leaf(name, leaf.number)
        runtime = self._request.runtime
        memory, pids = (0, 0) if self._permission is None else (UPLINK_MEMORY_BYTES, UPLINK_PIDS)
        leaf.set_limits(LeafLimits(limits.memory_bytes + RUNTIME_MEMORY_BYTES[runtime] + memory, limits.pids + RUNTIME_PIDS[runtime] + pids))
        return leaf

    def make_workspace(self) -> Workspace:
        return Workspace.make(self._request.limits, self._first_host_uid + JOB_UID)

    def enter_network(self) -> None:
        if self._permission is not None:
            self._owned = enter_uplink_network(self._permission.uid)
        elif self._request.network.level == "none":
            enter_no_network()
        else:
            enter_loopback_network()

    def start(self, workspace: Workspace) -> RuntimeProcess:
        # Our mounts must be visible to our runtime alone, and must go when this process goes.
        syscalls.unshare(syscalls.CLONE_NEWNS)
        self._bundle.attach_rootfs(self._rootfs, ROOT_FLAGS[self._request.runtime])
        self._bundle.attach_volumes(workspace)
        program = self._provisions.program if self._request.runtime in TAKES_PROGRAM else None
        spec = build_spec(self._request, self._bundle.paths, self._first_host_uid, max_open_files(), program)
        self._bundle.write_spec(adapt_spec(self._request.runtime, spec, self._bundle.folder, self._request.limits.disk_bytes))
        # A runtime that detaches leaves init to us.
        syscalls.adopt_orphans()
        if self._permission is not None and self._owned is not None:
            site = UplinkSite(self._permission.host_network, self._permission.uid, self._bundle.make_uplink_folder(), self.leaf.join_files)
            self._uplink = Uplink.start(self._owned, site, self._request.network.networks)
        executable = self._provisions.executables.get(self._runtime, self._runtime)
        process = start_runtime(self._runtime, executable, self._request.id, self._bundle.folder, self.leaf, self._first_host_uid)
        process.has_uplink = self._uplink is not None
        return process

    def remove(self) -> None:
        for held in (self._uplink, self._owned):
            if held is not None:
                held.close()
        self.denials.close()
        self._bundle.remove()


def _create_leaf(hierarchy: Hierarchy, name: str) -> Leaf:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            return hierarchy.create(name)
        except FileExistsError as error:
            if time.monotonic() > deadline or not hierarchy.open(name).is_empty():
                raise SandboxError("PROTOCOL", f"a sandbox with the id {name} exists already") from error
            time.sleep(0.001)
