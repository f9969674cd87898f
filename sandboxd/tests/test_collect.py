import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ergon_sandboxd.collect import Collection, is_good_name, printable
from ergon_sandboxd.limits import Limits
from sandbox_client import DEFAULT_LIMITS


def collect(root: Path, **limits: int) -> list[tuple[Any, ...]]:
    """Return what was sent, data joined to what it belongs to."""
    sent: list[tuple[Any, ...]] = []

    def send(message: dict[str, Any], payload: bytes) -> None:
        kind = message["type"]
        if kind == "data":
            sent[-1] = (*sent[-1][:-1], sent[-1][-1] + payload)
        elif kind == "violation":
            sent.append((kind, message["path"], message["code"]))
        elif kind == "limit":
            sent.append((kind, message["counter"], message["limit"], message["observed"]))
        else:
            sent.append((kind, message.get("name"), b""))

    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Collection(fd, Limits(**{**DEFAULT_LIMITS, **limits}), send).run()
    finally:
        os.close(fd)
    return sent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path


def test_result_and_artifacts_in_byte_order(root: Path) -> None:
    (root / "result.json").write_bytes(b"{}")
    for name in ("b", "a", "Z", "ä"):
        (root / "output" / name).write_bytes(name.encode())
    (root / "output" / "big").write_bytes(b"x" * 600_000)
    assert [entry[:2] for entry in collect(root)] == [("result", None), *(("artifact", n) for n in ("Z", "a", "b", "big", "ä"))]
    assert collect(root)[4][2] == b"x" * 600_000


def test_nothing_there_is_no_offence(tmp_path: Path) -> None:
    assert collect(tmp_path) == []


def test_folders_are_ignored(root: Path) -> None:
    (root / "output" / "sub").mkdir()
    (root / "output" / "sub" / "a").write_text("a")
    (root / "output" / "-sub").mkdir()
    assert collect(root) == []


def test_offences_are_named_and_nothing_is_read(root: Path) -> None:
    out = root / "output"
    (out / "symlink").symlink_to("/etc/shadow")
    (out / "dangling").symlink_to("/nonexistent")
    os.mkfifo(out / "fifo")
    os.mknod(out / "zero", 0o020666, os.makedev(1, 5))
    (out / "hard").write_text("x")
    os.link(out / "hard", out / "link")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(out / "socket"))
    found = collect(root)
    listener.close()
    assert found == [
        ("violation", "output/dangling", "SYMLINK"),
        ("violation", "output/fifo", "NOT_REGULAR"),
        ("violation", "output/hard", "HARD_LINK"),
        ("violation", "output/link", "HARD_LINK"),
        ("violation", "output/socket", "NOT_REGULAR"),
        ("violation", "output/symlink", "SYMLINK"),
        ("violation", "output/zero", "NOT_REGULAR"),
    ]


def test_output_replaced(tmp_path: Path) -> None:
    (tmp_path / "output").symlink_to("/etc")
    assert collect(tmp_path) == [("violation", "output", "NOT_A_DIRECTORY")]
    (tmp_path / "output").unlink()
    (tmp_path / "output").write_text("x")
    assert collect(tmp_path) == [("violation", "output", "NOT_A_DIRECTORY")]
    (tmp_path / "output").unlink()
    os.mkfifo(tmp_path / "output")
    assert collect(tmp_path) == [("violation", "output", "NOT_A_DIRECTORY")]


@pytest.mark.parametrize("make,code", [("link", "SYMLINK"), ("folder", "NOT_REGULAR"), ("fifo", "NOT_REGULAR")])
def test_result_replaced(root: Path, make: str, code: str) -> None:
    path = root / "result.json"
    if make == "link":
        path.symlink_to("/etc/passwd")
    elif make == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert collect(root) == [("violation", "result.json", code)]


def test_other_device(root: Path) -> None:
    from ergon_sandboxd.collect import Violation, open_regular

    fd = os.open("/proc/self", os.O_RDONLY)
    with pytest.raises(Violation) as caught:
        open_regular("status", fd, os.stat(root).st_dev)
    os.close(fd)
    assert caught.value.code == "OTHER_DEVICE"


BAD_NAMES = [b"-a", b".a", b"a\nb", b"a\x1b[0m", b"a\\b", b"\xff", b"x" * 201, "a\u202eb".encode(), "a\u2066b".encode(), "a\u2028b".encode(), b"\x7f"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(root: Path, name: bytes) -> None:
    (root / "output" / os.fsdecode(name)).write_text("x")
    ((kind, path, code),) = collect(root)
    assert (kind, code) == ("violation", "BAD_NAME")
    assert path.isascii() and path.isprintable() and len(path) < 900


def test_good_names() -> None:
    assert all(is_good_name(name) for name in ("a", "a.b", "résumé (1).png", "图.svg", "a b"))
    assert not is_good_name("")
    assert printable("a\nb") == "a\\x0ab"


def test_limits_end_the_collection(root: Path) -> None:
    for index in range(5):
        (root / "output" / f"f{index}").write_bytes(b"x" * 10)
    assert [e[0] for e in collect(root, artifact_count=3)] == ["artifact"] * 3 + ["limit"]
    assert collect(root, artifact_count=3)[-1] == ("limit", "artifact_count", 3, 5)
    assert collect(root, artifact_bytes=25)[-1] == ("limit", "artifact_bytes", 25, 30)
    (root / "result.json").write_bytes(b"x" * 11)
    assert collect(root, result_bytes=10) == [("limit", "result_bytes", 10, 11)]


def test_a_flood_of_offences_is_bounded(root: Path) -> None:
    for index in range(300):
        (root / "output" / f"l{index}").symlink_to("x")
    assert len(collect(root, artifact_count=1000)) == 100


def test_swapped_between_listing_and_opening(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "output" / "a").write_text("x")
    real = os.listdir

    def swap(fd: Any) -> list[str]:
        names = real(fd)
        (root / "output" / "a").unlink()
        (root / "output" / "a").symlink_to("/etc/shadow")
        return names

    monkeypatch.setattr(os, "listdir", swap)
    assert collect(root) == [("violation", "output/a", "SYMLINK")]
