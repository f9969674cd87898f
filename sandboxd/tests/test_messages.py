from typing import Any

import pytest

from ergon_sandboxd.errors import SandboxError
from ergon_sandboxd.framing import Frame
from ergon_sandboxd.limits import RANGES
from ergon_sandboxd.messages import ExecEntry, FileAnnouncement, Kill, RunRequest, parse_request
from sandbox_client import DEFAULT_LIMITS


def run_message(**changes: Any) -> dict[str, Any]:
    return {
        "type": "run",
        "id": "job-1",
        "environment": "python-sci@" + "a" * 64,
        "runtime": "crun",
        "isolation": "fresh",
        "seed": None,
        "network": {"level": "loopback"},
        "workspace": "read_write",
        "entry": {"kind": "python", "file": "code/main.py"},
        "env": {"A": "1"},
        "limits": DEFAULT_LIMITS,
        "on_output_limit": "kill",
        **changes,
    }


def refused(message: dict[str, Any]) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        parse_request(Frame(message, b""))
    return caught.value


def test_a_good_run_request() -> None:
    request = parse_request(Frame(run_message(entry={"kind": "exec", "argv": ["/usr/bin/id", "-u"], "cwd": "/tmp"}), b""))
    assert isinstance(request, RunRequest)
    assert request.entry == ExecEntry(("/usr/bin/id", "-u"), "/tmp")
    assert request.limits.wall_ms == 20_000


BAD_RUNS: list[dict[str, Any]] = [
    {"id": "../x"},
    {"id": "A"},
    {"id": "x" * 65},
    {"id": 1},
    {"id": "a\n"},
    {"environment": "../../etc@" + "a" * 64},
    {"environment": "x@" + "A" * 64},
    {"environment": ".@" + "a" * 64},
    {"runtime": "/bin/sh"},
    {"runtime": None},
    {"isolation": "warmest"},
    {"isolation": None},
    {"seed": "00"},
    {"seed": "G" * 64},
    {"seed": 7},
    {"runtime": ["crun"]},
    {"entry": {"kind": "python", "file": "input/a.py"}},
    {"entry": {"kind": "python", "file": "code/../a.py"}},
    {"entry": {"kind": "python", "file": "code/a.py", "argv": []}},
    {"entry": {"kind": "exec", "argv": [], "cwd": "/"}},
    {"entry": {"kind": "exec", "argv": ["id"], "cwd": "/"}},
    {"entry": {"kind": "exec", "argv": ["/bin/id", "a\0b"], "cwd": "/"}},
    {"entry": {"kind": "exec", "argv": ["/bin/id", "\ud800"], "cwd": "/"}},
    {"entry": {"kind": "exec", "argv": ["/x"] * 1000, "cwd": "/"}},
    {"entry": {"kind": "exec", "argv": ["/bin/id"]}},
    *({"entry": {"kind": "exec", "argv": ["/bin/id"], "cwd": cwd}} for cwd in ("tmp", "", "/a/../etc", "/..", "/tmp/", "/./tmp", "//", "/a\0b", "/" + "x" * 256, "/a" * 65, 5, None)),
    {"entry": None},
    {"env": {"a": "1"}},
    {"env": {"A=B": "1"}},
    {"env": {"A": 1}},
    {"env": {"A": "x" * 20_000}},
    {"env": []},
    {"network": None},
    {"network": "none"},
    {"network": {}},
    {"network": {"level": "host"}},
    {"network": {"level": ["none"]}},
    {"network": {"level": "none", "interface": "eth0"}},
    *({"workspace": workspace} for workspace in (None, "none", "rw", ["read_write"])),
    {"on_output_limit": "ignore"},
    {"mounts": []},
    {"limits": {}},
    {"limits": None},
    {"limits": {**DEFAULT_LIMITS, "gpus": 1}},
    {"limits": {**DEFAULT_LIMITS, "pids": "1"}},
    {"limits": {**DEFAULT_LIMITS, "pids": True}},
    {"limits": {**DEFAULT_LIMITS, "pids": 1.5}},
]


@pytest.mark.parametrize("changes", BAD_RUNS)
def test_a_bad_run_request_is_a_protocol_error(changes: dict[str, Any]) -> None:
    assert refused(run_message(**changes)).code == "PROTOCOL"


@pytest.mark.parametrize("name", sorted(RANGES))
def test_every_limit_has_a_floor_and_a_ceiling_and_is_named(name: str) -> None:
    floor, ceiling = RANGES[name]
    for value in (floor - 1, ceiling + 1, 10**300):
        error = refused(run_message(limits={**DEFAULT_LIMITS, name: value}))
        assert error.code == "LIMIT_OUT_OF_RANGE" and name in error.message


def test_unknown_keys_are_refused_by_name() -> None:
    assert "privileged" in refused({"type": "start", "privileged": True}).message
    assert "bytes" in refused({"type": "start", "bytes": 3}).message


@pytest.mark.parametrize("path", ["code/", "code/a/b", "code/.a", "code/-a", "etc/a", "/code/a", "code/a\n", "code/" + "a" * 129, "code/ü", 5, None])
def test_bad_paths(path: object) -> None:
    assert refused({"type": "file", "path": path, "size": 1}).code == "PROTOCOL"


def test_other_messages() -> None:
    assert parse_request(Frame({"type": "file", "path": "input/a_b.csv", "size": 0}, b"")) == FileAnnouncement("input/a_b.csv", 0)
    assert parse_request(Frame({"type": "kill", "reason": "shutdown"}, b"")) == Kill("shutdown")
    assert refused({"type": "kill", "reason": "why"}).code == "PROTOCOL"
    assert refused({"type": ["run"]}).code == "PROTOCOL"
    assert refused({}).code == "PROTOCOL"
