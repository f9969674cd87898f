"""What is counted although the program may catch it: attempts to leave the sandbox by network or system call."""

from pathlib import Path

import pytest

from sandbox_client import run

CAUGHT = """
import socket, urllib.request
def attempt(body):
    try: body()
    except OSError as error: print(type(error).__name__)
    else: raise SystemExit("it worked")
def send(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(1); s.connect(address); s.send(b"x")
"""


@pytest.mark.parametrize(
    ("attempt", "count"),
    [
        ("send(socket.AF_INET, socket.SOCK_STREAM, ('8.8.8.8', 53))", 1),
        ("send(socket.AF_INET, socket.SOCK_DGRAM, ('8.8.8.8', 53))", 1),
        ("send(socket.AF_INET, socket.SOCK_STREAM, ('169.254.169.254', 80))", 1),
        ("send(socket.AF_INET6, socket.SOCK_STREAM, ('2001:db8::1', 53))", 1),
        ("send(socket.AF_INET6, socket.SOCK_DGRAM, ('2001:db8::1', 53))", 1),
        ("send(socket.AF_INET6, socket.SOCK_STREAM, ('::ffff:8.8.8.8', 53))", 1),
    ],
)
def test_each_way_out_is_counted(sandboxd: Path, environment: str, attempt: str, count: int) -> None:
    outcome = run(sandboxd, environment, f"{CAUGHT}attempt(lambda: {attempt})")
    assert outcome.exit == ("exited", 0), outcome.stderr
    assert outcome.counters["network_attempts"] == count


@pytest.mark.parametrize("attempt", ["socket.getaddrinfo('example.com', 80)", "urllib.request.urlopen('http://example.com', timeout=2)"])
def test_a_look_up_is_counted(sandboxd: Path, environment: str, attempt: str) -> None:
    outcome = run(sandboxd, environment, f"{CAUGHT}attempt(lambda: {attempt})")
    assert outcome.exit == ("exited", 0) and outcome.counters["network_attempts"] > 0


def test_what_ordinary_programs_do_is_not_counted(sandboxd: Path, environment: str) -> None:
    source = """
import numpy, matplotlib.pyplot as plt, multiprocessing, subprocess, socket, tempfile, threading
plt.plot(numpy.arange(3)); plt.savefig("/workspace/output/a.png")
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
assert subprocess.run(["/bin/sh", "-c", "echo x | cat"], capture_output=True).stdout == b"x\\n"
for address in ("127.0.0.1", "::1"):
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        with socket.create_connection(server.getsockname()[:2]) as client: client.send(b"x")
socket.getaddrinfo("localhost", 80)
"""
    outcome = run(sandboxd, environment, source)
    assert outcome.exit == ("exited", 0), outcome.stderr
    assert outcome.counters["network_attempts"] == 0


def test_a_program_that_ends_at_once_is_counted(sandboxd: Path, environment: str) -> None:
    entry = {"kind": "exec", "argv": ["/bin/bash", "-c", "exec 3<>/dev/udp/8.8.8.8/53"]}
    for _ in range(5):
        assert run(sandboxd, environment, "", entry=entry).counters["network_attempts"] == 1
