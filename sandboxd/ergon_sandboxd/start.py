"""The two ways in which a sandbox starts, behind one interface: a container of its own, or a child of a warm template."""

from typing import Protocol

from .cgroup import Leaf
from .denials import DenialCounter
from .process import SandboxProcess
from .workspace import Workspace


class Start(Protocol):
    """Prepared as far as possible without the job's files; `remove` undoes all but the leaf, whose owner the caller is."""

    @property
    def leaf(self) -> Leaf:
        """The group of the sandbox's processes, with the job's limits on it."""

    @property
    def denials(self) -> DenialCounter:
        """Who refuses and counts its system calls."""

    def make_workspace(self) -> Workspace:
        """Give the job's volumes, empty; the caller closes them."""

    def enter_network(self) -> None:
        """Move this process into the sandbox's network namespace, where its counters are."""

    def start(self, workspace: Workspace) -> SandboxProcess:
        """Let the job go; SandboxError when that is not possible."""

    def remove(self) -> None:
        """Free what is held, when no process is left."""
