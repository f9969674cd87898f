"""Live fixtures: a real sandboxd started by its launcher. What is missing fails the tests; nothing is skipped but for what platforms.py lists."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import platforms
import sandbox_client
from live_sandboxd import LiveSandboxd, find_environment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = platforms.reason_to_skip(item.name, item.path.name)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def environment() -> str:
    return find_environment().name


@pytest.fixture(params=["crun", "runc", "runsc", "crun-warm", "runc-warm"])
def each_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a whole test file with each runtime, in containers of their own and as children of a warm template."""
    runtime, _, warm = str(request.param).partition("-")
    monkeypatch.setattr(sandbox_client, "DEFAULT_RUNTIME", runtime)
    if warm:
        monkeypatch.setattr(sandbox_client, "DEFAULT_ISOLATION", "warm")
        monkeypatch.setattr(sandbox_client, "BEFORE_CONNECT", lambda path: sandbox_client.warm_up(path, find_environment().name, runtime))


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandboxd]:
    live = LiveSandboxd(tmp_path_factory.mktemp("run"))
    live.start("--max-sandboxes", "4")
    yield live
    live.assert_fit()
    assert live.stop() == 0
    assert live.leaves() == []


@pytest.fixture
def sandboxd(daemon: LiveSandboxd) -> Iterator[Path]:
    """The socket; afterwards nothing of any sandbox may be left and sandboxd must still answer."""
    yield daemon.socket
    daemon.wait_until_clean()
    daemon.assert_alive()
