import json
from pathlib import Path

import pytest

from ergon_sandboxd.environment import find_rootfs
from ergon_sandboxd.errors import SandboxError
from ergon_sandboxd.evidence import describe_exit
from ergon_sandboxd.instance import instance_name
from ergon_sandboxd.report import MAX_REPORT_BYTES, parse_report
from ergon_sandboxd.streams import OutputStream
from ergon_sandboxd.warm.keeper import refill_time

ENVIRONMENT = "py@" + "0" * 64
REPORT = {"kind": "exception", "type": "ValueError", "message": "m", "line": 3, "column": None, "traceback": "t"}


def make_environment(root: Path) -> Path:
    rootfs = root / ENVIRONMENT / "rootfs"
    for point in ("workspace", "tmp", "proc", "dev", "usr/lib/ergon", "usr/bin"):
        (rootfs / point).mkdir(parents=True)
    (rootfs / "usr/bin/python3").symlink_to("python3.11")
    return rootfs


def test_an_environment_with_all_mount_points(tmp_path: Path) -> None:
    rootfs = make_environment(tmp_path)
    assert find_rootfs(tmp_path, ENVIRONMENT) == rootfs


@pytest.mark.parametrize("point", ["workspace", "tmp", "proc", "dev", "usr/lib/ergon"])
@pytest.mark.parametrize("link", [False, True])
def test_a_missing_mount_point_is_named_and_a_link_is_none(tmp_path: Path, point: str, link: bool) -> None:
    rootfs = make_environment(tmp_path)
    (rootfs / point).rmdir()
    if link:
        (rootfs / point).symlink_to("/etc")
    with pytest.raises(SandboxError, match=f"/{point}") as caught:
        find_rootfs(tmp_path, ENVIRONMENT)
    assert caught.value.code == "ENVIRONMENT_NOT_FOUND"


def test_an_environment_that_is_a_link_is_not_one(tmp_path: Path) -> None:
    make_environment(tmp_path / "elsewhere")
    (tmp_path / ENVIRONMENT).symlink_to(tmp_path / "elsewhere" / ENVIRONMENT)
    with pytest.raises(SandboxError):
        find_rootfs(tmp_path, ENVIRONMENT)


def test_an_environment_without_an_interpreter(tmp_path: Path) -> None:
    (make_environment(tmp_path) / "usr/bin/python3").unlink()
    with pytest.raises(SandboxError, match="usr/bin/python3"):
        find_rootfs(tmp_path, ENVIRONMENT)


def test_a_report_keeps_known_keys_only() -> None:
    assert parse_report(json.dumps({**REPORT, "secret": 1}).encode()) == REPORT


@pytest.mark.parametrize("change", [{"kind": 1}, {"traceback": None}, {"message": "\u0001" * 20_000}])
def test_a_report_with_wrong_types_is_dropped(change: dict[str, object]) -> None:
    assert parse_report(json.dumps({**REPORT, **change}).encode()) is None


def test_numbers_of_a_report_are_bounded() -> None:
    for value in (-1, 1 << 40, 1.5, True, "3"):
        found = parse_report(json.dumps({**REPORT, "line": value}).encode())
        assert found is not None and found["line"] is None


def test_what_is_no_report() -> None:
    for data in (b"", b"{", b"[]", b"[" * 20_000, b"\xff", b"x" * (MAX_REPORT_BYTES + 1), b"{}{}"):
        assert parse_report(data) is None


def test_a_stream_counts_all_and_delivers_up_to_its_limit() -> None:
    stream = OutputStream("stdout", 5)
    assert stream.accept(b"abc") == (0, b"abc") and not stream.truncated
    assert stream.accept(b"def") == (3, b"de") and stream.truncated
    assert stream.accept(b"ghi") == (5, b"")
    assert (stream.read_bytes, stream.delivered_bytes) == (9, 5)


def test_a_limit_of_zero_delivers_nothing() -> None:
    stream = OutputStream("stderr", 0)
    assert stream.accept(b"a") == (0, b"") and stream.truncated


def test_exits() -> None:
    assert describe_exit(0) == {"kind": "exited", "code": 0}
    assert describe_exit(137 << 8) == {"kind": "exited", "code": 137}
    assert describe_exit(9) == {"kind": "signaled", "signal": 9}
    assert describe_exit(11 | 128) == {"kind": "signaled", "signal": 11}
    assert describe_exit(None) == {"kind": "unknown"}


def test_instances_follow_their_sockets(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert instance_name(tmp_path / "a.sock") == instance_name(tmp_path / "link" / "a.sock") != instance_name(tmp_path / "b.sock")


def test_only_the_successor_of_a_lone_job_waits() -> None:
    assert refill_time(100.0, 99.0) > 100.0
    assert refill_time(100.0, 99.95) == 100.0


def test_a_child_is_made_before_the_next_lone_job_may_come() -> None:
    # Else jobs at such a distance would find fewer and fewer ready.
    assert refill_time(100.1, 100.0) < 100.2
