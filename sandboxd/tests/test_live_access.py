"""What a request may narrow: the network, the workspace and the folder a program starts in, of real sandboxes."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_client import Outcome, run

RUNTIMES = pytest.mark.parametrize("runtime", ["crun", "runc"])
# Connects to each address and tells the errors; the last one is a server of its own.
CONNECT = """
import errno, json, socket
found = {}
def attempt(name, body):
    try: body(); found[name] = "reached"
    except OSError as error: found[name] = errno.errorcode.get(error.errno, str(error))
def serve(family, address):
    with socket.socket(family) as server:
        server.settimeout(2); server.bind((address, 5000)); server.listen()
        socket.create_connection((address, 5000), 2).close()
for address in ("8.8.8.8", "2001:db8::1", "169.254.169.254", "10.0.0.1"):
    attempt(address, lambda: socket.create_connection((address, 80), 2))
attempt("127.0.0.1", lambda: serve(socket.AF_INET, "127.0.0.1"))
attempt("::1", lambda: serve(socket.AF_INET6, "::1"))
attempt("datagram to ::1", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", ("::1", 5000)))
attempt("datagram to 127.0.0.1", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 5000)))
found["interfaces"] = sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line)
print(json.dumps(found))
"""


def execute(sandboxd: Path, environment: str, argv: list[str], cwd: str = "/workspace", **request: Any) -> Outcome:
    return run(sandboxd, environment, "", entry={"kind": "exec", "argv": argv, "cwd": cwd}, **request)


def connect(sandboxd: Path, environment: str, **request: Any) -> tuple[dict[str, Any], Outcome]:
    outcome = execute(sandboxd, environment, ["/usr/bin/python3", "-c", CONNECT], **request)
    assert outcome.exit == ("exited", 0), outcome.stderr.decode()
    return json.loads(outcome.stdout), outcome


@RUNTIMES
def test_a_sandbox_without_network_has_no_loopback_either_and_every_attempt_counts(sandboxd: Path, environment: str, runtime: str) -> None:
    found, outcome = connect(sandboxd, environment, runtime=runtime, network={"level": "none"})
    assert "reached" not in found.values() and found.pop("interfaces") == ["lo"]
    # To bind 127.0.0.1 fails before there is anything to count.
    uncounted = {"127.0.0.1": "EADDRNOTAVAIL"}
    assert found == {**dict.fromkeys(found, "ENETUNREACH"), **uncounted}
    assert outcome.counters["network_attempts"] == len(found) - len(uncounted)


@RUNTIMES
def test_a_loopback_is_the_sandboxs_own_and_counts_nothing(sandboxd: Path, environment: str, runtime: str) -> None:
    found, outcome = connect(sandboxd, environment, runtime=runtime, network={"level": "loopback"})
    reached = {name for name, end in found.items() if end == "reached"}
    assert reached == {"127.0.0.1", "::1", "datagram to ::1", "datagram to 127.0.0.1"} and found["interfaces"] == ["lo"]
    assert outcome.counters["network_attempts"] == 4


@pytest.mark.parametrize("runtime", ["crun", "runc", "runsc"])
def test_a_read_only_workspace_keeps_its_inputs_and_leaves_nothing(sandboxd: Path, environment: str, runtime: str) -> None:
    script = "cat /workspace/input/a; for f in /workspace/x /workspace/output/x /workspace/result.json; do echo x >$f; done; echo x >/tmp/x && echo x >/dev/shm/x && echo tmp"
    request: dict[str, Any] = {"runtime": runtime, "files": {"input/a": b"input\n"}, "workspace": "read_only"}
    outcome = execute(sandboxd, environment, ["/bin/bash", "-c", script], **request)
    assert outcome.stdout == b"input\ntmp\n" and outcome.exit == ("exited", 0)
    assert outcome.stderr.count(b"Read-only file system") == 3
    assert outcome.result is None and outcome.artifacts == {} and outcome.violations == []


def test_a_warm_start_is_not_taken_where_the_sandbox_would_be_another(sandboxd: Path, environment: str) -> None:
    changes: list[dict[str, Any]] = [{"network": {"level": "none"}}, {"workspace": "read_only"}]
    for change in changes:
        assert run(sandboxd, environment, "pass", isolation="warm", expect_isolation="fresh", **change).isolation == "fresh"


@RUNTIMES
@pytest.mark.parametrize("cwd", ["/", "/tmp", "/workspace/input", "/usr/share"])
def test_a_program_starts_in_its_folder(sandboxd: Path, environment: str, runtime: str, cwd: str) -> None:
    assert execute(sandboxd, environment, ["/usr/bin/pwd"], cwd, runtime=runtime).stdout == f"{cwd}\n".encode()


@pytest.mark.parametrize("cwd", ["/root", "/nowhere", "/etc/passwd"])
def test_a_folder_that_cannot_be_entered_ends_it_before_the_program(sandboxd: Path, environment: str, cwd: str) -> None:
    outcome = execute(sandboxd, environment, ["/usr/bin/pwd"], cwd)
    assert outcome.exit == ("exited", 126) and outcome.stdout == b"" and outcome.stderr.startswith(cwd.encode() + b": ")
