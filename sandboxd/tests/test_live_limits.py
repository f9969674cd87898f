"""Limits to the letter: all of one is the job's, one more is not, and nothing of it comes from swap."""

from pathlib import Path

import pytest

from live_sandboxd import LiveSandboxd
from sandbox_client import DEFAULT_LIMITS, Client, run

pytestmark = pytest.mark.usefixtures("each_start")

_COUNT = """
import os, time
alive = 1
try:
    while True:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        alive += 1
except OSError: print(alive)
"""


@pytest.mark.parametrize("pids", [1, 2, 8])
def test_a_job_has_exactly_its_pids(sandboxd: Path, environment: str, pids: int) -> None:
    outcome = run(sandboxd, environment, _COUNT, limits={"pids": pids})
    assert (outcome.stdout, outcome.counters["pids_refused"]) == (b"%d\n" % pids, 1), outcome.stderr


def test_a_job_has_exactly_its_descriptors(sandboxd: Path, environment: str) -> None:
    source = "import os\ntry:\n  while True: last = os.open('/dev/null', os.O_RDONLY)\nexcept OSError: print(last)"
    assert run(sandboxd, environment, source, limits={"open_files": 40}).stdout == b"39\n"


def test_memory_is_limited_without_swap(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    hierarchy = daemon.hierarchy()
    with Client(sandboxd) as client:
        client.begin(environment, "print('up', flush=True)\nimport time; time.sleep(60)")
        while client.receive()[0]["type"] != "output":
            pass
        [name] = daemon.leaves()
        folders = [Path(file).parent for file in hierarchy.open(name).join_files]
        # v1 limits memory and swap together, v2 swap by itself.
        swap = [int((folder / file).read_text()) for folder in folders for file in ("memory.memsw.limit_in_bytes", "memory.swap.max") if (folder / file).exists()]
        client.send({"type": "kill", "reason": "shutdown"})
        client.finish()
    assert swap in ([DEFAULT_LIMITS["memory_bytes"]], [0])
