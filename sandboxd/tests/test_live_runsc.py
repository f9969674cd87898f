"""gVisor: what it refuses without telling anybody, what it accounts differently, and what its trial finds at the start."""

import json
import subprocess
from pathlib import Path

import pytest

from ergon_sandboxd import gvisor
from live_sandboxd import LiveSandboxd
from sandbox_client import MIB, Client, Outcome, run
from test_live_isolation import EPILOGUE, PRELUDE

GVISOR_BYTES = 96 * MIB


def run_under_runsc(sandboxd: Path, environment: str, source: str, **request: object) -> Outcome:
    return run(sandboxd, environment, source, runtime="runsc", **request)


def attempts(sandboxd: Path, environment: str, source: str) -> tuple[dict[str, str], Outcome]:
    outcome = run_under_runsc(sandboxd, environment, PRELUDE + source + EPILOGUE)
    assert outcome.exit == ("exited", 0), outcome.stderr.decode()
    found: dict[str, str] = json.loads(outcome.result or b"")
    return found, outcome


def test_runsc_the_job_is_in_gvisor(sandboxd: Path, environment: str) -> None:
    outcome = run_under_runsc(sandboxd, environment, "print(open('/proc/version').read())")
    assert b"Linux version 4.4.0" in outcome.stdout, "gVisor's own version, not the host's"


def test_runsc_refuses_system_calls_uncounted(sandboxd: Path, environment: str) -> None:
    source = """
calls = {"mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0), "umount": (166, b"/tmp", 0), "unshare user": (272, 0x10000000), "setns": (308, 0, 0),
 "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "ptrace": (101, 16, 1, 0, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "io_uring_setup": (425, 1, 0), "keyctl": (250, 0, 0),
 "bpf": (321, 0, 0, 0), "perf": (298, 0, 0, 0, 0, 0), "userfaultfd": (323, 0), "kexec": (246, 0, 0, 0, 0), "open_by_handle_at": (304, 0, 0, 0), "chroot": (161, b"/tmp"),
 "setuid": (105, 0), "setgid": (106, 0), "mknod device": (133, b"/tmp/n", 0o020666, 0x0105), "reboot": (169, 0, 0, 0, 0), "sethostname": (170, b"x", 1), "kill init": (62, 1, 9)}
for name, arguments in calls.items(): attempt(name, lambda: call(*arguments))
for family in (16, 17, 38, 40): attempt(f"socket {family}", lambda: socket.socket(family, socket.SOCK_RAW if family in (16, 17) else socket.SOCK_STREAM))
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
found["caps"] = status["CapEff"] + status["CapPrm"]; found["seccomp"] = status["Seccomp"]
"""
    found, outcome = attempts(sandboxd, environment, source)
    assert found.pop("caps") == "0" * 32 and found.pop("seccomp") == "2"
    assert {name: value for name, value in found.items() if value not in ("EPERM", "EACCES")} == {}
    assert outcome.evidence["denied_syscalls"] == {}


def test_runsc_has_no_network_and_counts_none(sandboxd: Path, environment: str) -> None:
    source = """
def connect(family, address):
    s = socket.socket(family); s.settimeout(3); s.connect(address)
attempt("tcp", lambda: connect(socket.AF_INET, ("8.8.8.8", 53)))
attempt("tcp6", lambda: connect(socket.AF_INET6, ("2001:4860:4860::8888", 53)))
attempt("metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("host's abstract sockets", lambda: connect(socket.AF_UNIX, "\\0anything"))
with socket.create_server(("127.0.0.1", 0)) as server: connect(socket.AF_INET, server.getsockname())
"""
    found, outcome = attempts(sandboxd, environment, source)
    assert found.pop("host's abstract sockets") == "ECONNREFUSED"
    assert set(found.values()) <= {"ENETUNREACH", "EHOSTUNREACH"} and len(found) == 4
    assert outcome.counters["network_attempts"] == 0


def test_runsc_shows_nothing_of_host_or_init(sandboxd: Path, environment: str) -> None:
    source = """
for fd in range(8): attempt(f"init fd {fd}", lambda: os.open(f"/proc/1/fd/{fd}", os.O_WRONLY))
found["environ"] = open("/proc/1/environ").read()
for path in ("/etc/shadow", "/proc/1/mem", "/proc/1/root/etc/passwd", "/root/x", "/usr/lib/ergon/channels/status"):
    attempt(path, lambda: open(path, "rb").read(10))
attempt("status again", lambda: os.open("/usr/lib/ergon/channels/status", os.O_WRONLY))
for path in ("/bin/x", "/workspace/code/x", "/workspace/input/x", "/usr/lib/ergon/x", "/x", "/workspace/code/main.py"):
    attempt("write " + path, lambda: open(path, "w"))
"""
    found, _ = attempts(sandboxd, environment, source)
    # gVisor shows it to everybody; all of it is sandboxd's, the same for each job.
    assert "ERGON_RESULT=/workspace/result.json" in found.pop("environ")
    assert {name: value for name, value in found.items() if value not in ("EACCES", "EPERM", "EROFS", "ENOENT")} == {}


@pytest.mark.parametrize("source", ["a = []\nwhile True: a.append(bytearray(1 << 20))", "open('/tmp/f', 'wb').write(bytes(250 << 20))", "open('/dev/shm/f', 'wb').write(bytes(250 << 20))"])
def test_runsc_memory_ends_the_whole_sandbox(sandboxd: Path, environment: str, source: str) -> None:
    limits = {"memory_bytes": 64 * MIB, "disk_bytes": 512 * MIB, "file_size_bytes": 512 * MIB}
    outcome = run_under_runsc(sandboxd, environment, source, limits=limits)
    assert outcome.killed_by == "memory" and outcome.counters["oom_kills"] >= 1
    assert outcome.counters["memory_peak_bytes"] <= 64 * MIB + GVISOR_BYTES + MIB


BOMBS = ["import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "import os\nwhile True: os.fork()"]


@pytest.mark.parametrize("source", BOMBS, ids=["threads", "forks"])
def test_runsc_bombs_end_the_whole_sandbox(sandboxd: Path, environment: str, source: str) -> None:
    outcome = run_under_runsc(sandboxd, environment, source, limits={"pids": 16, "wall_ms": 4000})
    # Each shadow takes memory and makes gVisor slower, so another limit may be first.
    assert outcome.exit == ("unknown", None) and (outcome.counters["pids_refused"] > 0 or outcome.killed_by in ("wall", "memory"))


def test_runsc_dev_shm_has_the_quota(sandboxd: Path, environment: str) -> None:
    outcome = run_under_runsc(sandboxd, environment, "open('/dev/shm/f', 'wb').write(bytes(9 << 20))", limits={"disk_bytes": 8 * MIB})
    assert "No space" in outcome.evidence["report"]["message"]


def test_runsc_links_are_refused_and_what_gvisor_keeps_never_leaves(sandboxd: Path, environment: str) -> None:
    source = """
import os, socket
os.chdir("output")
os.symlink("/etc/shadow", "link"); os.mkfifo("fifo"); open("a", "w"); os.link("a", "hard"); socket.socket(socket.AF_UNIX).bind("sock")
open("good", "w").write("g"); os.symlink("/proc/self/environ", "../result.json")
"""
    outcome = run_under_runsc(sandboxd, environment, source)
    assert outcome.artifacts == {"good": b"g"} and outcome.result is None
    assert {("result.json", "SYMLINK"), ("output/link", "SYMLINK"), ("output/a", "HARD_LINK"), ("output/hard", "HARD_LINK")} <= set(outcome.violations)


def test_runsc_itself_holds_no_id_of_the_host(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    with Client(sandboxd) as client:
        client.begin(environment, "import time\nprint('up')\ntime.sleep(60)", runtime="runsc")
        while client.receive()[0]["type"] != "output":
            pass
        uids = {int(line.split()[1]) for pid in daemon.processes() for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")}
        client.send({"type": "kill", "reason": "cancelled"})
        client.finish()
    assert uids and min(uids) >= 1 << 30


def test_runsc_that_cannot_start_sandboxes_is_found_by_the_trial(tmp_path: Path) -> None:
    broken = tmp_path / "runsc"
    broken.write_text("#!/bin/sh\necho 'no platform here' >&2\nexit 128\n")
    broken.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with pytest.raises(OSError, match="runsc cannot start a sandbox here: exit status 128: no platform here"):
        gvisor.try_out(str(broken), Path("/mnt"))
    broken.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(OSError, match="does not pass FIFOs on"):
        gvisor.try_out(str(broken), Path("/mnt"))


def test_a_runtime_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    refused = subprocess.run(LiveSandboxd(tmp_path).command("--runtime", "kata"), capture_output=True, text=True, timeout=60)
    assert refused.returncode == 77 and "the OCI runtime kata is not available; supported: crun, runc, runsc" in refused.stderr


def test_runsc_that_works_is_no_obstacle(tmp_path: Path) -> None:
    live = LiveSandboxd(tmp_path)
    live.start("--runtime", "runsc")
    assert live.stop() == 0
