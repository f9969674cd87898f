"""sandboxd itself: hostile clients, parallel ones, ones that leave, and its own death."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from live_sandboxd import LiveSandboxd, children
from platforms import SLOWNESS
from sandbox_client import DEFAULT_LIMITS, Client, Refused, run
from test_messages import run_message

SLEEP = "import time, os\nos.fork()\nprint('up')\ntime.sleep(300)"


def wait_for_output(client: Client) -> None:
    while client.receive()[0]["type"] != "output":
        pass


@pytest.mark.usefixtures("each_start")
def test_disconnect_kills(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    client = Client(sandboxd)
    client.begin(environment, SLEEP)
    wait_for_output(client)
    assert daemon.processes()
    client.close()
    daemon.wait_until_clean(5)


@pytest.mark.parametrize("stage", ["connected", "accepted", "sending"])
def test_disconnect_before_the_start_leaves_nothing(sandboxd: Path, daemon: LiveSandboxd, environment: str, stage: str) -> None:
    client = Client(sandboxd)
    if stage != "connected":
        client.send(run_message(environment=environment))
        client.expect("accepted")
    if stage == "sending":
        client.send({"type": "file", "path": "code/main.py", "size": 100})
    client.close()
    daemon.wait_until_clean(5)


def test_kill_request_before_the_start(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.send(run_message(environment=environment))
        client.expect("accepted")
        client.send({"type": "kill", "reason": "cancelled"})
        outcome = client.finish()
    assert outcome.killed_by == "client"


def unasked(environment: str, *more: bytes, run_id: str = "unasked") -> bytes:
    """Everything a client has to say, in one piece."""
    entry = {"kind": "python", "file": "code/main.py"}
    messages = [run_message(id=run_id, environment=environment, runtime="crun", entry=entry, limits=DEFAULT_LIMITS, env={})]
    messages += [{"type": "file", "path": "code/main.py", "size": 12}, {"type": "data", "bytes": 12}]
    said = [json.dumps(message).encode() + b"\n" for message in messages]
    return b"".join([*said, b"print('hi')\n", b'{"type":"start"}\n', *more])


def test_nobody_has_to_wait_for_accepted(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.sock.sendall(unasked(environment))
        client.expect("accepted")
        assert client.finish().stdout == b"hi\n"


def test_a_kill_that_comes_along_with_start_is_heard(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.sock.sendall(unasked(environment, b'{"type":"kill","reason":"cancelled"}\n'))
        client.expect("accepted")
        assert client.finish().killed_by == "client"


def test_an_error_is_heard_by_a_client_that_did_not_wait(sandboxd: Path) -> None:
    for _ in range(5):
        with Client(sandboxd) as client, pytest.raises(Refused) as caught:
            client.sock.sendall(unasked("none@" + "0" * 64))
            client.receive()
        assert caught.value.code == "ENVIRONMENT_NOT_FOUND"


@pytest.mark.usefixtures("each_start")
def test_a_message_other_than_kill_after_start_ends_it(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.begin(environment, SLEEP)
        wait_for_output(client)
        client.send({"type": "start"})
        with pytest.raises(Refused) as caught:
            client.finish()
    assert caught.value.code == "PROTOCOL"


def test_a_client_that_does_not_read_blocks_only_its_job(sandboxd: Path, environment: str) -> None:
    limits = {"wall_ms": 1500, "stdout_bytes": 1 << 28}
    with Client(sandboxd) as client:
        client.begin(environment, "import sys\nwhile True: sys.stdout.write('x' * 65536)", limits=limits)
        time.sleep(2.5)
        outcome = client.finish()
    assert outcome.killed_by == "wall" and outcome.counters["wall_ms"] < 3000 * SLOWNESS
    assert outcome.counters["stdout_bytes"] < 1 << 24


def test_parallel(sandboxd: Path, environment: str) -> None:
    clients = [Client(sandboxd) for _ in range(4)]
    for index, client in enumerate(clients):
        client.begin(environment, f"import os, time\ntime.sleep({SLOWNESS / 2})\nprint({index}, os.listdir('/workspace/output'))\nopen('/workspace/output/{index}', 'w')")
    with pytest.raises(Refused) as caught:
        run(sandboxd, environment, "pass")
    assert caught.value.code == "BUSY"
    for index, client in enumerate(clients):
        outcome = client.finish()
        assert outcome.stdout == f"{index} []\n".encode() and list(outcome.artifacts) == [str(index)]
        client.close()


def test_place_and_id_are_free_once_a_sandbox_is_done(sandboxd: Path, environment: str) -> None:
    ended: list[Client] = []
    running = [Client(sandboxd) for _ in range(3)]
    for client in running:
        client.begin(environment, SLEEP)
    for _ in range(8):
        # The last of four places, again and again, while the one before is still being removed.
        client = Client(sandboxd)
        client.begin(environment, "pass", id="again")
        assert client.finish(until_removed=False).exit == ("exited", 0)
        ended.append(client)
    for client in [*running, *ended]:
        client.close()


def test_the_same_id_twice(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as first:
        first.begin(environment, SLEEP, id="same")
        wait_for_output(first)
        with pytest.raises(Refused) as caught:
            run(sandboxd, environment, "pass", id="same")
        assert caught.value.code == "PROTOCOL" and "same" in caught.value.message
        first.send({"type": "kill", "reason": "shutdown"})
        assert first.finish().killed_by == "client"


@pytest.mark.usefixtures("each_start")
def test_a_dead_handler_takes_its_sandbox_along(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    with Client(sandboxd) as client:
        client.begin(environment, SLEEP)
        wait_for_output(client)
        parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) for pid in daemon.processes()}
        (handler,) = set(parents.values()) - set(parents)
        os.kill(handler, signal.SIGKILL)
        daemon.wait_until_clean(5)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_handler_comes_back_to_where_it_was(own: LiveSandboxd, environment: str, runtime: str) -> None:
    own.start()
    namespaces: set[tuple[str, ...]] = set()
    seen: set[int] = set()
    for _ in range(6):
        assert run(own.socket, environment, "print('fine')", runtime=runtime).stdout == b"fine\n"
        seen |= own.handlers()
        for pid in own.handlers():
            assert children(pid) == [], "a process of a sandbox is still there"
            namespaces.add(tuple(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("mnt", "net", "pid")))
            assert len(os.listdir(f"/proc/{pid}/fd")) < 20, "descriptors of a sandbox stay open"
    # A connection that takes one of two makes a third, a next one before that is back a fourth; then the same ones serve all.
    assert len(seen) <= 4 and len(namespaces) == 1
    assert own.stop() == 0


def test_a_handler_that_served_a_failure_is_replaced(own: LiveSandboxd, environment: str) -> None:
    own.start()
    before = own.handlers()
    for _ in range(8):
        with Client(own.socket) as client, pytest.raises(Refused):
            client.send({"type": "nonsense"})
            client.receive()
    with Client(own.socket) as client:
        client.begin(environment, "print('fine')")
        assert client.finish().stdout == b"fine\n"
    assert not before & own.handlers()
    assert own.stop() == 0


def test_waiting_handlers_that_die_are_replaced(own: LiveSandboxd, environment: str) -> None:
    own.start()
    for _ in range(3):
        killed = own.handlers()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        while not own.handlers() or killed & own.handlers():
            time.sleep(0.01)
        assert run(own.socket, environment, "print('fine')").stdout == b"fine\n"
    assert own.stop() == 0 and own.leaves() == []


def mutate(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 8)):
        kind = rng.randrange(5)
        at = rng.randrange(len(data) + 1)
        if kind == 0:
            data[at:at] = rng.randbytes(rng.randint(1, 20))
        elif kind == 1:
            del data[at : at + rng.randint(1, 20)]
        elif kind == 2 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 3:
            data[at:at] = rng.choice([b'"', b"{", b"}", b"[", b"\n", b"null", b"-1", b"1e999", b"\\ud800", b'"bytes":9,', b"\x00"])
        else:
            data += data[:at]
    return bytes(data)


def test_fuzz(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    good = [
        {"type": "probe"},
        run_message(environment=environment),
        {"type": "file", "path": "code/main.py", "size": 3},
        {"type": "data", "bytes": 3},
        {"type": "start"},
        {"type": "kill", "reason": "cancelled"},
    ]
    rng = random.Random(20260101)
    answers: dict[str, int] = {}
    began = time.monotonic()
    for _ in range(250):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(sandboxd))
        frames = [json.dumps(rng.choice(good)).encode() + b"\n" for _ in range(rng.randint(1, 4))]
        wire = rng.randbytes(rng.randint(1, 2000)) if rng.random() < 0.2 else b"".join(mutate(rng, frame) for frame in frames)
        received = b""
        try:
            sock.sendall(wire)
            sock.shutdown(socket.SHUT_WR)
            while block := sock.recv(65536):
                received += block
        except (BrokenPipeError, ConnectionResetError):
            pass
        sock.close()
        for line in received.splitlines():
            kind = json.loads(line)["type"]
            answers[kind] = answers.get(kind, 0) + 1
            assert json.loads(line).get("code") != "INTERNAL", line
    assert time.monotonic() - began < 120
    assert answers.get("error", 0) > 100
    daemon.wait_until_clean()


def test_an_error_reaches_a_client_that_is_still_sending(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.send(run_message(environment=environment, limits={**DEFAULT_LIMITS, "input_bytes": 1000}))
        client.expect("accepted")
        client.send_file("code/main.py", bytes(8 << 20))
        with pytest.raises(Refused) as caught:
            client.receive()
    assert caught.value.code == "INPUT_TOO_LARGE"


def test_slow_clients_are_dropped(sandboxd: Path) -> None:
    with Client(sandboxd) as client:
        client.sock.sendall(b'{"type":')
        began = time.monotonic()
        with pytest.raises(Refused) as caught:
            client.receive()
        assert caught.value.code == "PROTOCOL" and 8 < time.monotonic() - began < 15


def test_other_users_are_not_served(sandboxd: Path) -> None:
    os.chmod(sandboxd, 0o666)
    for folder in (sandboxd.parent, sandboxd.parent.parent, sandboxd.parent.parent.parent):
        os.chmod(folder, 0o755)
    code = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ntry: s.sendall(b'{\"type\":\"probe\"}\\n'); d=s.recv(9)\nexcept OSError: d=b''\nprint(len(d))"
    try:
        found = subprocess.run(["/usr/bin/python3", "-I", "-c", code, str(sandboxd)], user=65534, group=65534, capture_output=True, text=True)
    finally:
        os.chmod(sandboxd, 0o660)
    assert found.stdout == "0\n", found.stderr


def test_probe_without_a_running_sandboxd() -> None:
    found = subprocess.run([str(Path(__file__).parent.parent / "sandboxd"), "--probe"], capture_output=True, text=True, timeout=60 * SLOWNESS)
    facts = json.loads(found.stdout)
    assert found.returncode == 0 and facts["missing"] == [] and facts["cgroup"]["usable"] is True
    assert [entry["name"] for entry in facts["runtimes"]] == ["crun", "runc", "runsc"]


def test_probe_tells_what_is_missing() -> None:
    found = subprocess.run([str(Path(__file__).parent.parent / "sandboxd"), "--probe"], capture_output=True, text=True, timeout=60 * SLOWNESS, user=65534)
    facts = json.loads(found.stdout)
    assert found.returncode != 0 and "cgroup" in {entry["capability"] for entry in facts["missing"]}
    assert all(entry["detail"] and entry["remedy"] for entry in facts["missing"])


@pytest.fixture
def own(tmp_path: Path) -> LiveSandboxd:
    return LiveSandboxd(tmp_path)


@pytest.mark.usefixtures("each_start")
def test_kill_9_leaves_nothing_after_the_next_start(own: LiveSandboxd, environment: str) -> None:
    own.start()
    client = Client(own.socket)
    client.begin(environment, "import os\nif os.fork() == 0: os.setsid()\n" + SLEEP)
    wait_for_output(client)
    pids = own.processes()
    assert len(pids) >= 4
    assert own.stop(signal.SIGKILL) == -signal.SIGKILL
    deadline = time.monotonic() + 5 * SLOWNESS
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "the kernel must end every process of the sandbox"
        time.sleep(0.01)
    client.close()
    assert own.leaves() != []
    own.start()
    assert own.leaves() == []
    with Client(own.socket) as after:
        after.begin(environment, "print('fine')")
        assert after.finish().stdout == b"fine\n"
    assert own.stop() == 0 and own.leaves() == []


@pytest.mark.usefixtures("each_start")
def test_sigterm_ends_running_sandboxes(own: LiveSandboxd, environment: str) -> None:
    own.start()
    client = Client(own.socket)
    client.begin(environment, SLEEP)
    wait_for_output(client)
    assert own.stop() == 0
    assert own.leaves() == [] and not own.socket.exists()
    client.close()


def test_a_second_one_on_the_same_socket_is_refused(own: LiveSandboxd) -> None:
    own.start()
    second = subprocess.run(own.command(), capture_output=True, text=True, timeout=30 * SLOWNESS)
    assert second.returncode == 75 and "another sandboxd" in second.stderr
    own.assert_alive()
    assert own.stop() == 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_dies_with_its_parent(own: LiveSandboxd) -> None:
    parent = subprocess.Popen(["/bin/sh", "-c", '"$@" & echo $!; wait', "sh", *own.command("--die-with-parent")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert json.loads(parent.stdout.readline())["ready"] is True
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5 * SLOWNESS
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.stdout.close()
    assert own.leaves() == [] and not own.socket.exists(), "a stop, not a crash: nothing waits for the next start"


def test_the_host_mount_table_shows_nothing(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.begin(environment, SLEEP)
        wait_for_output(client)
        table = Path("/proc/self/mounts").read_text()
        assert "ergon-sandboxd" not in table and "/sys/fs/cgroup" in table
        client.send({"type": "kill", "reason": "shutdown"})
        client.finish()


def test_the_hosts_devices_stay_roots(sandboxd: Path, environment: str) -> None:
    run(sandboxd, environment, "pass")
    for name in ("null", "zero", "urandom", "tty"):
        found = Path("/dev", name).stat()
        # Other programs of this machine may have handed a device to their containers; our uids begin here.
        assert found.st_uid < 1 << 30 and found.st_mode & 0o777 == 0o666, name


def test_sandboxd_is_small(sandboxd: Path, daemon: LiveSandboxd) -> None:
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    for pid in [str(daemon.process.pid), *children]:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert int(status["VmRSS"].split()[0]) < 30_000
