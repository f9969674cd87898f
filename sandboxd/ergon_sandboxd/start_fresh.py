"""A container of the job's own, made by the OCI runtime."""

from pathlib import Path

from . import syscalls
from .bundle import Bundle
from .cgroup import Hierarchy, Leaf, LeafLimits
from .denials import DenialCounter
from .errors import SandboxError
from .ids import JOB_UID
from .messages import RunRequest
from .network import enter_loopback_network, enter_no_network
from .oci_spec import build_spec
from .provisions import Provisions
from .runtime import ROOT_FLAGS, RUNTIME_MEMORY_BYTES, RUNTIME_PIDS, TAKES_PROGRAM, RuntimeProcess, adapt_spec, max_open_files, start_runtime
from .workspace import Workspace


class FreshStart:
    """Takes some ten milliseconds, and shares nothing with any other job but the environment's files."""

    def __init__(
        self, request: RunRequest, runtime: str, rootfs: Path, bundle: Bundle, hierarchy: Hierarchy, provisions: Provisions, first_host_uid: int
    ) -> None:
        self._request = request
        self._runtime = runtime
        self._rootfs = rootfs
        self._bundle = bundle
        self._provisions = provisions
        self._first_host_uid = first_host_uid
        bundle.create()
        self.leaf = self._make_leaf(hierarchy)
        # Before the network: a socket of the sandbox's namespace would show its path to the job.
        self.denials = DenialCounter.listen(bundle.paths.listener)

    def _make_leaf(self, hierarchy: Hierarchy) -> Leaf:
        limits, name = self._request.limits, self._request.id
        try:
            leaf = hierarchy.create(name)
        except FileExistsError as error:
            raise SandboxError("PROTOCOL", f"a sandbox with the id {name} exists already") from error
        # Only now: a name written before the leaf is ours could make a crash clean up somebody else's.
        self._bundle.name_leaf(name)
        runtime = self._request.runtime
        leaf.set_limits(LeafLimits(limits.memory_bytes + RUNTIME_MEMORY_BYTES[runtime], limits.pids + RUNTIME_PIDS[runtime]))
        return leaf

    def make_workspace(self) -> Workspace:
        return Workspace.make(self._request.limits, self._first_host_uid + JOB_UID)

    def enter_network(self) -> None:
        if self._request.network.level == "none":
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
        executable = self._provisions.executables.get(self._runtime, self._runtime)
        return start_runtime(self._runtime, executable, self._request.id, self._bundle.folder, self.leaf, self._first_host_uid)

    def remove(self) -> None:
        self.denials.close()
        self._bundle.remove()
