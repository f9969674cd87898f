"""Starting, inspecting and killing a real sandboxd."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ergon_sandboxd.cgroup import Hierarchy, detect_hierarchy
from ergon_sandboxd.cgroup.detect import own_group
from ergon_sandboxd.instance import instance_name
from platforms import SLOWNESS
from sandbox_client import Client, Refused

LAUNCHER = Path(__file__).resolve().parent.parent / "sandboxd"


def find_environment() -> Path:
    """Return an environment folder; its absence is a failure."""
    folder = os.environ.get("ERGON_TEST_ENVIRONMENTS")
    assert folder, "ERGON_TEST_ENVIRONMENTS must name a folder with a built environment"
    found = sorted(path for path in Path(folder).glob("*@*") if (path / "rootfs" / "usr/bin/python3").exists())
    assert found, f"no environment in {folder}"
    return found[0]


def children(pid: int) -> list[int]:
    """Its children, those that wait to be collected too."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class LiveSandboxd:
    """One sandboxd process and what the kernel knows of its sandboxes."""

    def __init__(self, home: Path, environments: Path | None = None) -> None:
        self.environments = environments or find_environment().parent
        self.home = home
        self.socket = home / "sandboxd.sock"
        self.process: subprocess.Popen[str] | None = None

    def command(self, *extra: str) -> list[str]:
        return [str(LAUNCHER), "--home", str(self.home), "--environments", str(self.environments), "--socket", str(self.socket), "--child-seconds", str(1.0 * SLOWNESS), *extra]

    def start(self, *extra: str) -> dict[str, Any]:
        self.process = subprocess.Popen(self.command(*extra), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "sandboxd did not become ready"
        ready: dict[str, Any] = json.loads(line)
        return ready

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20 * SLOWNESS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def hierarchy(self) -> Hierarchy:
        """The groups it makes: those of an ordinary user are below the group that this test process was started in."""
        return detect_hierarchy(instance_name(self.socket), delegated=None if os.geteuid() == 0 else own_group())

    def all_leaves(self) -> list[str]:
        """Those of templates and of children that wait for a job, too."""
        return self.hierarchy().leftovers()

    def leaves(self) -> list[str]:
        """Those that a connection has taken, and those that it made for itself."""
        taken = self._taken()
        return [name for name in self.all_leaves() if "_" not in name or name in taken]

    def _taken(self) -> set[str]:
        if self.process is None:
            return set()
        # sandboxd's notes are in its own mount namespace.
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not children.exists():
            return set(self.all_leaves())
        return {
            file.read_text()
            for pid in children.read_text().split()
            for file in Path(f"/proc/{pid}/root/run/ergon-sandboxd", instance_name(self.socket), "run").glob("*/leaf")
        }

    def processes(self) -> list[int]:
        """Every process of a taken leaf, as the host sees them."""
        hierarchy = self.hierarchy()
        return [pid for name in self.leaves() for pid in hierarchy.open(name).processes()]

    def handlers(self) -> set[int]:
        """The handlers that wait or serve: children of the accept loop, which is this process's only child."""
        assert self.process is not None
        (loop,) = children(self.process.pid)
        return set(children(loop))

    def wait_until_clean(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds * SLOWNESS
        while leaves := self.leaves():
            assert time.monotonic() < deadline, f"left behind: {leaves} with {self.processes()}"
            time.sleep(0.01)

    def assert_alive(self) -> None:
        """It answers; a probe would, too, but starts each runtime, and this follows every test."""
        with Client(self.socket, timeout=10 * SLOWNESS) as client:
            client.send({"type": "start"})
            with pytest.raises(Refused, match="the first message must be probe, warm_up or run"):
                client.receive()

    def assert_fit(self) -> None:
        """It still can make sandboxes."""
        with Client(self.socket, timeout=10 * SLOWNESS) as client:
            client.send({"type": "probe"})
            assert client.expect("probe_result")["missing"] == []
