import os
import socket
from pathlib import Path

import pytest

from ergon_sandboxd.cgroup.v2 import V2Hierarchy
from ergon_sandboxd.connection import Connection
from ergon_sandboxd.handler import Sandbox
from ergon_sandboxd.instance import State, clean_slot
from ergon_sandboxd.namespaces import OwnNamespaces
from ergon_sandboxd import syscalls


class EndedSandbox(Sandbox):
    """One whose program has ended, and which cannot be removed before its client's socket was looked into."""

    def __init__(self, connection: Connection, client: socket.socket) -> None:
        self._connection = connection
        self._place = None
        self.is_done = False
        self._client = client
        self.heard = bytearray()

    def _run(self) -> None:
        pass

    def _remove(self) -> None:
        assert self.is_done
        while not self.heard.endswith(b"#"):
            self.heard += self._client.recv(1 << 20)


def test_a_client_that_takes_nothing_keeps_no_sandbox_that_is_done() -> None:
    ours, client = socket.socketpair()
    connection = Connection(ours)
    try:
        while True:
            ours.send(b"#")
    except BlockingIOError:
        pass
    with ours, client:
        sandbox = EndedSandbox(connection, client)
        sandbox.run()
        assert client.recv(100) == b'{"type":"done"}\n'


def note_of(tmp_path: Path, text: str) -> State:
    state = State(tmp_path / "state")
    state.slot_folder(3).mkdir(parents=True)
    (state.slot_folder(3) / "leaf").write_text(text)
    return state


@pytest.mark.parametrize("is_own", [True, False])
def test_what_a_dead_handler_noted_is_removed_unless_its_name_is_another_one_s_now(tmp_path: Path, is_own: bool) -> None:
    leaf = tmp_path / "ergon" / "i" / "again"
    leaf.mkdir(parents=True)
    number = leaf.stat().st_ino + (0 if is_own else 1)
    state = note_of(tmp_path, f"again {number}")
    clean_slot(state, V2Hierarchy(tmp_path, "i"), 3)
    assert leaf.exists() is not is_own
    assert not state.slot_folder(3).exists()


def test_a_warm_leaf_is_noted_by_its_name_alone(tmp_path: Path) -> None:
    leaf = tmp_path / "ergon" / "i" / "warm_0_0_1"
    leaf.mkdir(parents=True)
    clean_slot(note_of(tmp_path, "warm_0_0_1"), V2Hierarchy(tmp_path, "i"), 3)
    assert not leaf.exists()


@pytest.mark.parametrize("left", [0, syscalls.CLONE_NEWNET, syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET])
def test_a_handler_comes_back_from_wherever_it_was(left: int) -> None:
    kinds = ("mnt", "net")

    def places() -> list[str]:
        return [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]

    before = places()
    own = OwnNamespaces()
    if left:
        syscalls.unshare(left)
        assert places() != before
    own.come_back()
    assert places() == before
