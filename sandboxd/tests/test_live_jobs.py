"""What jobs end as: real sandboxes, real kernel evidence."""

import json
import time
from pathlib import Path

import pytest

from platforms import SLOWNESS
from sandbox_client import MIB, Client, Outcome, Refused, run

pytestmark = pytest.mark.usefixtures("each_start")


def ok(outcome: Outcome) -> Outcome:
    assert (outcome.exit, outcome.killed_by) == (("exited", 0), None), (outcome.evidence, outcome.stderr)
    return outcome


def test_a_job_sees_its_contract(sandboxd: Path, environment: str) -> None:
    source = """
import json, os, sys, pickle, __main__
class Thing: pass
assert pickle.loads(pickle.dumps(Thing())).__class__ is Thing is __main__.Thing
assert __name__ == "__main__" and sys.argv == [__file__] == ["/workspace/code/main.py"] and sys.path[0] == "/workspace/code"
import helper
json.dump({"parameters": json.load(open(os.environ["ERGON_PARAMETERS"])), "cwd": os.getcwd(), "uid": os.getuid(), "helper": helper.X,
  "hash": hash("a"), "extra": os.environ["EXTRA"], "host": os.uname().nodename, "stdin": sys.stdin.read(), "processes": sum(p.isdigit() for p in os.listdir("/proc"))},
  open(os.environ["ERGON_RESULT"], "w"))
open(os.environ["ERGON_OUTPUT_DIR"] + "/a.txt", "w").write("artifact")
print("out"); print("err", file=sys.stderr)
"""
    files = {"input/parameters.json": b'{"x":1}', "code/helper.py": b"X = 5\n"}
    outcomes = [ok(run(sandboxd, environment, source, files=files, env={"EXTRA": "e=1"})) for _ in range(2)]
    result = json.loads(outcomes[0].result or b"")
    assert outcomes[0].result == outcomes[1].result, "string hashes must not differ between runs"
    assert result["parameters"] == {"x": 1} and result["cwd"] == "/workspace" and result["uid"] == 1000 and result["helper"] == 5
    assert result["extra"] == "e=1" and result["host"] == "sandbox" and result["stdin"] == "" and result["processes"] == 2
    assert (outcomes[0].stdout, outcomes[0].stderr) == (b"out\n", b"err\n")
    assert outcomes[0].artifacts == {"a.txt": b"artifact"}
    assert outcomes[0].order == ["started", "output", "output", "exit", "result", "artifact", "done"]


def test_exit_code(sandboxd: Path, environment: str) -> None:
    assert run(sandboxd, environment, "import sys; sys.exit(7)").exit == ("exited", 7)
    outcome = run(sandboxd, environment, "import sys; sys.exit('sorry')")
    assert outcome.exit == ("exited", 1) and outcome.stderr == b"sorry\n"
    assert outcome.evidence["report"]["kind"] == "system_exit"
    assert run(sandboxd, environment, "import os; os._exit(137)").exit == ("exited", 137)


def test_exception_report(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "def f():\n    return [1][5]\n\nf()\n")
    assert outcome.exit == ("exited", 1)
    assert outcome.stderr.decode() == (
        "Traceback (most recent call last):\n"
        '  File "/workspace/code/main.py", line 4, in <module>\n    f()\n'
        '  File "/workspace/code/main.py", line 2, in f\n    return [1][5]\n           ~~~^^^\n'
        "IndexError: list index out of range\n"
    )
    report = outcome.evidence["report"]
    assert (report["kind"], report["type"], report["line"], report["column"]) == ("exception", "IndexError", 2, 12)
    assert report["message"] == "list index out of range" and report["traceback"] == outcome.stderr.decode()


def test_syntax_error_and_missing_module(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "x = 1\nif x\n    pass\n")
    report = outcome.evidence["report"]
    assert (report["type"], report["line"], report["column"]) == ("SyntaxError", 2, 5)
    assert outcome.stderr.startswith(b'  File "/workspace/code/main.py", line 2\n') and b"ergon" not in outcome.stderr
    outcome = run(sandboxd, environment, "import numpy_missing")
    assert outcome.evidence["report"]["type"] == "ModuleNotFoundError"


def test_a_forged_or_oversized_report_is_dropped(sandboxd: Path, environment: str) -> None:
    for forged in ('b"[" * 20000', 'b"x" * 40000', "b'{\"kind\":1}'", "b'{}'"):
        outcome = ok(run(sandboxd, environment, f"import os\nos.write(4, {forged})"))
        assert outcome.evidence["report"] is None
    outcome = run(sandboxd, environment, "raise ValueError('\\ud800' * 100000)", limits={"stderr_bytes": MIB})
    assert outcome.exit == ("exited", 1) and outcome.evidence["report"]["type"] == "ValueError"


def test_exec_entry(sandboxd: Path, environment: str) -> None:
    entry = {"kind": "exec", "argv": ["/bin/sh", "-c", 'echo "$0|$1|$VAR"; echo x > /dev/stdout; exit 3', "; ls", "$(id)"], "cwd": "/workspace"}
    outcome = run(sandboxd, environment, "", entry=entry, env={"VAR": "v"})
    assert outcome.exit == ("exited", 3) and outcome.stdout == b"; ls|$(id)|v\nx\n"
    outcome = run(sandboxd, environment, "", entry={"kind": "exec", "argv": ["/usr/bin/nothing"], "cwd": "/workspace"})
    assert outcome.exit == ("exited", 127) and b"No such file" in outcome.stderr


def test_output_streams_while_the_job_runs(sandboxd: Path, environment: str) -> None:
    with Client(sandboxd) as client:
        client.begin(environment, "import time\nprint('one')\ntime.sleep(30)")
        client.expect("started")
        began = time.monotonic()
        assert client.receive()[1] == b"one\n"
        assert time.monotonic() - began < 10 * SLOWNESS
        client.send({"type": "kill", "reason": "cancelled"})
        outcome = client.finish()
    assert outcome.killed_by == "client" and outcome.exit == ("unknown", None)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_limit_kills(sandboxd: Path, environment: str, stream: str) -> None:
    source = f"import sys\nwhile True: sys.{stream}.write('x' * 1000)"
    outcome = run(sandboxd, environment, source, limits={f"{stream}_bytes": 5000})
    assert outcome.killed_by == stream and outcome.evidence["truncated"][stream] is True
    assert getattr(outcome, stream) == b"x" * 5000 and outcome.counters[f"{stream}_bytes"] > 5000


def test_output_limit_truncates(sandboxd: Path, environment: str) -> None:
    source = "import sys\nfor _ in range(5000): sys.stdout.write('x' * 1000)"
    outcome = ok(run(sandboxd, environment, source, limits={"stdout_bytes": 5000}, on_output_limit="truncate"))
    assert outcome.stdout == b"x" * 5000 and outcome.counters["stdout_bytes"] == 5_000_000
    assert outcome.evidence["truncated"] == {"stdout": True, "stderr": False}


def test_exactly_the_limit_is_within_it(sandboxd: Path, environment: str) -> None:
    outcome = ok(run(sandboxd, environment, "print('x' * 99)", limits={"stdout_bytes": 100}))
    assert outcome.evidence["truncated"]["stdout"] is False


def test_wall(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "import time; time.sleep(60)", limits={"wall_ms": 500})
    assert outcome.killed_by == "wall" and 500 <= outcome.counters["wall_ms"] < 1500 * SLOWNESS


@pytest.mark.parametrize("source", ["while True: pass", "import os\nif os.fork() == 0:\n  while True: pass\nos.wait()"])
def test_cpu(sandboxd: Path, environment: str, source: str) -> None:
    ignoring = "import signal\nfor n in (15, 24): signal.signal(n, signal.SIG_IGN)\n"
    outcome = run(sandboxd, environment, ignoring + source, limits={"cpu_ms": 700})
    assert outcome.killed_by == "cpu" and 700 <= outcome.counters["cpu_ms"] < 2000 * SLOWNESS


@pytest.mark.parametrize("source", ["a = []\nwhile True: a.append(bytearray(1 << 20))", "bytearray(1 << 34)", "open('/tmp/f', 'wb').write(bytes(90 << 20))"])
def test_memory(sandboxd: Path, environment: str, source: str) -> None:
    limits = {"memory_bytes": 64 * MIB, "disk_bytes": 512 * MIB, "file_size_bytes": 512 * MIB}
    outcome = run(sandboxd, environment, source, limits=limits)
    if source.startswith("bytearray") and outcome.killed_by is None:
        assert outcome.evidence["report"]["type"] == "MemoryError"
        return
    assert outcome.killed_by == "memory" and outcome.counters["oom_kills"] >= 1
    assert outcome.counters["memory_peak_bytes"] <= 64 * MIB


@pytest.mark.parametrize("folder", ["/tmp", "/workspace", "/dev/shm"])
def test_disk_quota(sandboxd: Path, environment: str, folder: str) -> None:
    source = f"with open('{folder}/f', 'wb', 0) as f:\n  while True: f.write(bytes(65536))"
    outcome = run(sandboxd, environment, source, limits={"disk_bytes": 8 * MIB})
    assert outcome.evidence["report"]["type"] == "OSError" and "No space" in outcome.evidence["report"]["message"]
    assert outcome.counters["disk_peak_bytes"] == 8 * MIB


def test_file_count(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "for i in range(1000): open(f'/workspace/output/{i}', 'w')", limits={"disk_files": 100})
    assert "No space" in outcome.evidence["report"]["message"] and outcome.counters["disk_peak_files"] == 100


def test_file_size(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "open('/tmp/f', 'wb').write(bytes(1 << 20))", limits={"file_size_bytes": 65536})
    assert outcome.exit == ("signaled", 25)
    outcome = run(sandboxd, environment, "import os\nos.truncate(os.open('/tmp/f', os.O_CREAT | os.O_RDWR), 1 << 40)")
    assert outcome.exit == ("signaled", 25)


@pytest.mark.parametrize("catch", ["", "    except OSError: pass\n"])
def test_fork_bomb(sandboxd: Path, environment: str, catch: str) -> None:
    body = "import os\nwhile True:\n    try: os.fork()\n" + (catch or "    except MemoryError: pass\n")
    outcome = run(sandboxd, environment, body, limits={"wall_ms": 3000 * SLOWNESS, "cpu_ms": 3000, "pids": 8, "stderr_bytes": MIB})
    assert outcome.counters["pids_refused"] > 0
    assert outcome.killed_by in ("wall", "cpu", None) and outcome.counters["wall_ms"] < 8000 * SLOWNESS


def test_thread_bomb(sandboxd: Path, environment: str) -> None:
    source = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    outcome = run(sandboxd, environment, source, limits={"pids": 16})
    assert outcome.exit == ("exited", 1) and outcome.counters["pids_refused"] > 0


def test_the_smallest_pid_limit_still_starts(sandboxd: Path, environment: str) -> None:
    ok(run(sandboxd, environment, "pass", limits={"pids": 1}))


@pytest.mark.parametrize("number", [9, 15, 6, 11])
def test_death_by_signal_is_seen_as_such(sandboxd: Path, environment: str, number: int) -> None:
    outcome = run(sandboxd, environment, f"import os, signal\nsignal.signal({number}, signal.SIG_DFL) if {number} != 9 else 0\nos.kill(os.getpid(), {number})")
    assert outcome.exit == ("signaled", number) and outcome.killed_by is None


def test_orphans_delay_nothing(sandboxd: Path, environment: str) -> None:
    source = """
import os, time, sys
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
print("parent done")
"""
    outcome = ok(run(sandboxd, environment, source))
    assert outcome.stdout == b"parent done\n" and outcome.exit_after_seconds < 5 * SLOWNESS


def test_threads_atexit_and_multiprocessing(sandboxd: Path, environment: str) -> None:
    source = """
import atexit, threading, time, multiprocessing
def square(x): return x * x
if __name__ == "__main__":
    atexit.register(lambda: print("atexit"))
    go = threading.Event()
    threading.Thread(target=lambda: (go.wait(), time.sleep(.1), print("thread"))).start()
if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool: print(pool.map(square, [1, 2, 3]))
    go.set()
"""
    assert ok(run(sandboxd, environment, source)).stdout == b"[1, 4, 9]\n[1, 4, 9]\nthread\natexit\n"


def test_science_is_quiet_and_reproducible(sandboxd: Path, environment: str) -> None:
    source = """
import numpy as np, matplotlib.pyplot as plt
plt.plot(np.sin(np.arange(10))); plt.savefig("/workspace/output/p.svg"); plt.savefig("/workspace/output/p.png")
open("/workspace/output/svd", "wb").write(np.linalg.svd(np.outer(np.arange(40.), np.arange(40.)) + np.eye(40))[1].tobytes())
"""
    outcomes = [ok(run(sandboxd, environment, source, limits={"memory_bytes": 512 * MIB})) for _ in range(2)]
    assert outcomes[0].stderr == b"" and set(outcomes[0].artifacts) == {"p.svg", "p.png", "svd"}
    assert outcomes[0].artifacts == outcomes[1].artifacts


def test_artifact_violations(sandboxd: Path, environment: str) -> None:
    source = """
import os, socket
os.chdir("output")
os.symlink("/etc/shadow", "link"); os.mkfifo("fifo"); open("a", "w"); os.link("a", "hard"); socket.socket(socket.AF_UNIX).bind("sock")
open("-dash", "w"); os.mkdir("folder"); open("good", "w").write("g"); os.chmod("good", 0)
os.symlink("/proc/self/environ", "../result.json")
"""
    outcome = ok(run(sandboxd, environment, source))
    assert outcome.artifacts == {"good": b"g"}
    assert outcome.violations == [
        ("result.json", "SYMLINK"),
        ("output/-dash", "BAD_NAME"),
        ("output/a", "HARD_LINK"),
        ("output/fifo", "NOT_REGULAR"),
        ("output/hard", "HARD_LINK"),
        ("output/link", "SYMLINK"),
        ("output/sock", "NOT_REGULAR"),
    ]


def test_output_folder_replaced_by_a_link(sandboxd: Path, environment: str) -> None:
    outcome = ok(run(sandboxd, environment, "import os\nos.rmdir('output'); os.symlink('/etc', 'output')"))
    assert outcome.violations == [("output", "NOT_A_DIRECTORY")] and outcome.artifacts == {}


def test_collection_limits(sandboxd: Path, environment: str) -> None:
    source = "for i in range(9): open(f'/workspace/output/{i}', 'w').write('x')"
    outcome = ok(run(sandboxd, environment, source, limits={"artifact_count": 2}))
    assert list(outcome.artifacts) == ["0", "1"]
    assert [(entry["counter"], entry["observed"]) for entry in outcome.limits] == [("artifact_count", 9)]


def test_deep_folders_and_long_names_are_cleaned_up(sandboxd: Path, environment: str) -> None:
    source = "import os\nfor _ in range(3000): os.mkdir('d' * 255); os.chdir('d' * 255)"
    ok(run(sandboxd, environment, source, limits={"disk_files": 10_000}))


def test_refusals(sandboxd: Path, environment: str) -> None:
    def refused(**request: object) -> Refused:
        with pytest.raises(Refused) as caught:
            run(sandboxd, str(request.pop("environment", environment)), "pass", **request)
        return caught.value

    assert refused(environment="nothing@" + "0" * 64).code == "ENVIRONMENT_NOT_FOUND"
    assert refused(limits={"cpu_percent": 0}).code == "LIMIT_OUT_OF_RANGE"
    assert refused(limits={"memory_bytes": 1}).code == "LIMIT_OUT_OF_RANGE"
    assert refused(limits={"input_bytes": 3}, files={"input/a": b"1234"}).code == "INPUT_TOO_LARGE"
    assert refused(entry={"kind": "python", "file": "code/other.py"}).code == "PROTOCOL"


def test_cpu_share(sandboxd: Path, environment: str) -> None:
    source = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    outcome = ok(run(sandboxd, environment, source, limits={"cpu_percent": 40}))
    assert outcome.counters["cpu_ms"] < 0.6 * outcome.counters["wall_ms"]


def test_two_sandboxes_share_nothing_writable(sandboxd: Path, environment: str) -> None:
    write = "for f in ('/tmp', '/dev/shm', '/workspace'): open(f + '/trace', 'w').write('x')"
    ok(run(sandboxd, environment, write))
    assert ok(run(sandboxd, environment, "import os\nprint([f for f in ('/tmp', '/dev/shm', '/workspace') if os.path.exists(f + '/trace')])")).stdout == b"[]\n"
