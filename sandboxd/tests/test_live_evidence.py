"""What is counted although the program may catch it: attempts to leave the sandbox by network or system call."""

from pathlib import Path

import pytest

from platforms import SLOWNESS
from sandbox_client import run

pytestmark = pytest.mark.usefixtures("each_start")

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
    outcome = run(sandboxd, environment, source=f"{CAUGHT}attempt(lambda: {attempt})")
    assert outcome.exit == ("exited", 0), outcome.stderr
    assert outcome.counters["network_attempts"] == count


@pytest.mark.parametrize("attempt", ["socket.getaddrinfo('example.com', 80)", "urllib.request.urlopen('http://example.com', timeout=2)"])
def test_a_look_up_is_counted(sandboxd: Path, environment: str, attempt: str) -> None:
    outcome = run(sandboxd, environment, source=f"{CAUGHT}attempt(lambda: {attempt})")
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
    assert outcome.counters["network_attempts"] == 0 and outcome.evidence["denied_syscalls"] == {}


def test_a_program_that_ends_at_once_is_counted(sandboxd: Path, environment: str) -> None:
    entry = {"kind": "exec", "argv": ["/bin/bash", "-c", "exec 3<>/dev/udp/8.8.8.8/53"], "cwd": "/workspace"}
    for _ in range(5 if SLOWNESS == 1 else 2):
        assert run(sandboxd, environment, "", entry=entry).counters["network_attempts"] == 1


CALLS = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    assert libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]) == -1
    return errno.errorcode[ctypes.get_errno()]
"""


def test_denied_calls_are_counted_by_name(sandboxd: Path, environment: str) -> None:
    source = """
numbers = {"mount": 165, "unshare": 272, "setns": 308, "ptrace": 101, "bpf": 321, "keyctl": 250, "io_uring_setup": 425, "userfaultfd": 323,
  "perf_event_open": 298, "chroot": 161, "open_by_handle_at": 304, "pidfd_getfd": 438, "process_vm_readv": 310, "kexec_load": 246}
for number in numbers.values(): assert call(number, 0, 0, 0, 0, 0) == "EPERM", number
for flag in (0x10000000, 0x50020000): assert call(56, flag | 17, 0, 0, 0, 0) == "EPERM"
assert call(133, b"/tmp/null", 0o20666, 0x103) == "EPERM"
for family, kind, protocol in ((16, 3, 15), (17, 3, 0), (38, 5, 0), (40, 1, 0), (2, 3, 1), (10, 3, 58)):
    try: socket.socket(family, kind, protocol)
    except PermissionError: pass
    else: raise SystemExit(f"family {family}")
"""
    outcome = run(sandboxd, environment, CALLS + source)
    assert outcome.exit == ("exited", 0), outcome.stderr
    found = outcome.evidence["denied_syscalls"]
    assert (found.pop("clone"), found.pop("mknod"), found.pop("socket")) == (2, 1, 6)
    assert set(found.values()) == {1} and len(found) == 14


def test_what_libraries_try_is_refused_but_not_counted(sandboxd: Path, environment: str) -> None:
    source = """
refused = {"inotify_init1": (294, 0), "get_mempolicy": (239, 0, 0, 0, 0, 0), "netlink routes": (41, 16, 3, 0), "mptcp": (41, 2, 1, 262)}
for name, arguments in refused.items(): assert call(*arguments) == "EPERM", name
assert call(435, 0, 0) == "ENOSYS"
os.mkfifo("/tmp/fifo"); os.waitpid(os.fork() or os._exit(0), 0)
"""
    outcome = run(sandboxd, environment, CALLS + source)
    assert outcome.exit == ("exited", 0), outcome.stderr
    assert outcome.evidence["denied_syscalls"] == {}


def test_an_allocation_beyond_the_machine_is_refused_as_by_the_kernel_and_told(sandboxd: Path, environment: str) -> None:
    source = """
libc.mmap.restype = ctypes.c_void_p
def mmap(length, protection, flags):
    found = libc.mmap(None, ctypes.c_size_t(length), protection, flags, -1, ctypes.c_long(0))
    return "granted" if found != ctypes.c_void_p(-1).value else errno.errorcode[ctypes.get_errno()]
READ, WRITE, SHARED, PRIVATE, ANONYMOUS, NORESERVE = 1, 2, 1, 2, 0x20, 0x4000
file = os.open("/tmp/file", os.O_RDWR | os.O_CREAT)
for length in (1 << 40, 1 << 45):
    assert mmap(length, READ, PRIVATE | ANONYMOUS) == "granted"
    assert mmap(length, READ | WRITE, PRIVATE | ANONYMOUS | NORESERVE) == "granted"
    assert libc.mmap(None, ctypes.c_size_t(length), READ | WRITE, SHARED, file, ctypes.c_long(0)) != ctypes.c_void_p(-1).value
assert mmap(1 << 30, READ | WRITE, PRIVATE | ANONYMOUS) == "granted"
print("so far", flush=True)
if "refuse" in os.environ["MODE"]: print(*[mmap(length, READ | WRITE, PRIVATE | ANONYMOUS) for length in (1 << 40, 1 << 45, 1 << 42)])
"""
    fine = run(sandboxd, environment, CALLS + source, env={"MODE": "fine"})
    assert (fine.exit, fine.counters["allocation_refused_bytes"]) == (("exited", 0), 0), fine.stderr
    outcome = run(sandboxd, environment, CALLS + source, env={"MODE": "refuse"})
    assert outcome.stdout == b"so far\nENOMEM ENOMEM ENOMEM\n", outcome.stderr
    # What was counted is the largest, and it is no attempt to break out.
    assert outcome.counters["allocation_refused_bytes"] == 1 << 45
    assert outcome.evidence["denied_syscalls"] == {}


def test_the_count_is_bounded_and_stalls_nobody(sandboxd: Path, environment: str) -> None:
    source = """
import threading
def probe():
    for _ in range(20000): libc.unshare(0x10000000)
threads = [threading.Thread(target=probe) for _ in range(8)]
for thread in threads: thread.start()
print("alive", flush=True)
for thread in threads: thread.join()
print(call(272, 0x10000000))
"""
    outcome = run(sandboxd, environment, CALLS + source, limits={"wall_ms": 10_000 * SLOWNESS})
    # Its descriptor closed, the kernel answers by itself: still refused, no longer counted.
    assert (outcome.exit, outcome.stdout) == (("exited", 0), b"alive\nENOSYS\n")
    assert outcome.evidence["denied_syscalls"] == {"unshare": 1000}


def test_a_job_that_waits_for_an_answer_can_be_killed(sandboxd: Path, environment: str) -> None:
    source = "import sys\nwhile True:\n  libc.unshare(0x10000000); os.fork()"
    outcome = run(sandboxd, environment, CALLS + source, limits={"wall_ms": 300})
    assert outcome.killed_by in ("wall", None) and outcome.exit_after_seconds < 5 * SLOWNESS
