"""A child of a warm template, taken when it is ready: what is left is to limit it, give it its files and let it go."""

import json
import os
import socket
from typing import Final

from .. import syscalls
from ..bundle import Bundle
from ..cgroup import Hierarchy, LeafLimits
from ..cgroup.files import read_text
from ..denials import DenialCounter
from ..errors import SandboxError
from ..job_environment import requested_variables
from ..messages import Isolation, PythonEntry, RunRequest
from ..oci_spec import resource_limits
from ..process import has_ended, sleep_until_end
from ..runtime import max_open_files
from ..workspace import Workspace
from .ready_child import ReadyChild
from .take import Offer

# proc(5): the flags, counted behind the command's name; include/linux/sched.h.
_STAT_FLAGS: Final = 6
_PF_EXITING: Final = 0x4


class WarmProcess:
    """A child that was let go."""

    isolation: Isolation = "warm"
    # Its limits were set before it was told to begin.
    has_started = True
    is_limited = True
    # Init.
    companions = 1
    companion_bytes = 0

    def __init__(self, child: ReadyChild) -> None:
        self._child = child
        self.pidfd = child.pidfd
        self.stdout, self.stderr, self.status, self.report = child.stdout, child.stderr, child.status, child.report
        self.exit_code: int | None = None

    def reap(self) -> None:
        # The kernel reaps it: its parent, the template, does not want to know.
        if self.exit_code is None and has_ended(self.pidfd, 0):
            self.exit_code = 0

    @property
    def is_over(self) -> bool:
        return self.exit_code is not None

    def let_job_begin(self) -> None:
        """Nothing: its order has let it begin."""

    def is_ending(self) -> bool:
        # The launcher tells how the job ended, which an init's own end comes before: no look at its pidfd is soon enough.
        return _is_exiting(self.pidfd)

    def wait_for_end(self, seconds: float) -> None:
        sleep_until_end(self, seconds)

    def failure(self) -> str:
        return "the ready child ended before its job began"

    def check_foundation(self) -> None:
        if _is_exiting(self._child.template):
            raise SandboxError("TEMPLATE_LOST", "the warm template that the job lived in was killed")

    def close(self) -> None:
        """Nothing: WarmStart closes the child's descriptors."""


class WarmStart:
    """Takes over an offered child."""

    @staticmethod
    def accept(request: RunRequest, offer: Offer, bundle: Bundle, hierarchy: Hierarchy) -> "WarmStart | None":
        """Take the child over; None when its keeper is gone, and the child with it."""
        # First: whoever cleans up after us must find it before the keeper forgets it.
        bundle.create_for_leaf(offer.child.leaf)
        if offer.accept():
            return WarmStart(request, offer.child, bundle, hierarchy)
        bundle.remove_name()
        return None

    def __init__(self, request: RunRequest, child: ReadyChild, bundle: Bundle, hierarchy: Hierarchy) -> None:
        self._request = request
        self._bundle = bundle
        self._child = child
        self.leaf = hierarchy.open(child.leaf)
        self.denials = DenialCounter.watch(child.release_notifications())
        limits = request.limits
        self.leaf.set_limits(LeafLimits(limits.memory_bytes, limits.pids + WarmProcess.companions))
        self.leaf.limit_cpu(limits.cpu_percent)

    def make_workspace(self) -> Workspace:
        return Workspace.adopt(self._child.release_volumes(), self._request.limits)

    def enter_network(self) -> None:
        syscalls.enter(self._child.network, syscalls.CLONE_NEWNET)

    def start(self, workspace: Workspace) -> WarmProcess:
        process = WarmProcess(self._child)
        try:
            with socket.socket(fileno=os.dup(self._child.job)) as job:
                job.send(self._order())
        except OSError as error:
            process.check_foundation()
            raise SandboxError("RUNTIME_FAILED", f"the ready child is gone: {error}") from error
        return process

    def _order(self) -> bytes:
        request, entry = self._request, self._request.entry
        if not isinstance(entry, PythonEntry):
            raise SandboxError("INTERNAL", "only Python can be warm")
        order = {
            "variables": [f"{name}={value}" for name, value in requested_variables(request.env).items()],
            "file": f"/workspace/{entry.file}",
            "seed": request.seed,
            "rlimits": resource_limits(request.limits, max_open_files()),
        }
        return json.dumps(order).encode()

    def remove(self) -> None:
        self.denials.close()
        self._child.close()
        self._bundle.remove_name()


def _is_exiting(pidfd: int) -> bool:
    pid = next(line.split()[1] for line in read_text(f"/proc/self/fdinfo/{pidfd}").splitlines() if line.startswith("Pid:"))
    try:
        fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[_STAT_FLAGS]) & _PF_EXITING)
