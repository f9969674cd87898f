"""What is particular to warm starts: nothing passes from job to job, and no end of a template loses one."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sandbox_client
from ergon_sandboxd.cgroup import detect_hierarchy
from ergon_sandboxd.instance import instance_name
from live_sandboxd import LiveSandboxd, find_environment
from sandbox_client import Client, Outcome, Refused, run, warm_up

SEED = "5e" * 32


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_client, "DEFAULT_ISOLATION", "warm")
    monkeypatch.setattr(sandbox_client, "BEFORE_CONNECT", lambda path: warm_up(path, find_environment().name))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LiveSandboxd]:
    live = LiveSandboxd(tmp_path)
    yield live
    if live.process is not None and live.process.poll() is None:
        live.stop()
    live.wait_until_clean()


# What a job can see of itself and of what libraries hold, as far as another job could have changed it.
PROBE = """
import builtins, gc, hashlib, json, locale, os, resource, signal, socket, sys, tempfile, threading, time, warnings
import decimal, logging, random
import matplotlib, matplotlib.pyplot, numpy, pandas, scipy, sympy
def state_of(module):
    return sorted(f"{name}={value!r}"[:200] for name, value in vars(module).items() if isinstance(value, (int, float, str, bytes, bool, tuple)))
def descriptors():
    found = {}
    for fd in range(64):
        try: found[fd] = os.fstat(fd).st_mode >> 12
        except OSError: pass
    return found
def tree(folder):
    return sorted(os.path.join(at, name) for at, folders, names in os.walk(folder) for name in folders + names)
print(json.dumps({
    "modules": sorted(sys.modules),
    "state": {name: hashlib.sha256(json.dumps(state_of(module)).encode()).hexdigest() for name, module in sorted(sys.modules.items()) if module is not None},
    "environment": dict(os.environ),
    "path": sys.path, "argv": sys.argv, "meta_path": [type(finder).__name__ for finder in sys.meta_path],
    "descriptors": descriptors(),
    "files": [tree(folder) for folder in ("/workspace", "/tmp", "/dev/shm")],
    "processes": sorted(name for name in os.listdir("/proc") if name.isdigit()),
    "who": [os.getuid(), os.getgid(), os.getgroups(), os.getpid(), socket.gethostname(), os.getcwd(), os.umask(0o022)],
    "signals": [str(signal.getsignal(number)) for number in range(1, 32) if number not in (9, 19)],
    "limits": [resource.getrlimit(kind) for kind in range(16)],
    "threads": threading.active_count(), "locale": locale.setlocale(locale.LC_ALL), "warnings": len(warnings.filters),
    "builtins": sorted(vars(builtins)), "main": sorted(vars(sys.modules["__main__"])),
    "numbers": [random.random(), numpy.random.rand(), numpy.random.default_rng().random(), sympy.core.random.random()],
    "settings": [str(numpy.get_printoptions()), str(decimal.getcontext()), str(sorted(matplotlib.rcParams.items()))[:5000], pandas.get_option("display.max_rows")],
    "figures": matplotlib.pyplot.get_fignums(), "handlers": len(logging.getLogger().handlers), "tempdir": tempfile.tempdir,
    "zone": time.tzname, "cgroup": open("/proc/self/cgroup").read(), "ipc": open("/proc/sysvipc/shm").read(),
}, sort_keys=True))
"""

MISCHIEF = """
import builtins, decimal, json, locale, logging, os, random, signal, sys, tempfile, threading, warnings
import matplotlib.pyplot, numpy, pandas, sympy
numpy.pi = 3; builtins.left = 1; builtins.print_ = print; sys.left = 1; sys.path.append("/left"); os.environ["LEFT"] = "1"
json.dumps = None; sys.modules["left"] = sys; sys.meta_path.clear(); decimal.getcontext().prec = 5; tempfile.tempdir = "/left"
matplotlib.rcParams["savefig.dpi"] = 7; matplotlib.pyplot.figure(); numpy.set_printoptions(precision=1); pandas.set_option("display.max_rows", 3)
warnings.simplefilter("ignore"); logging.basicConfig(); random.seed(1); numpy.random.seed(1)
signal.signal(signal.SIGTERM, signal.SIG_IGN); os.umask(0); os.chdir("/tmp"); threading.Thread(target=lambda: None, daemon=True).start()
for folder in ("/tmp", "/workspace", "/workspace/output", "/dev/shm"): open(folder + "/left", "w").write("x")
for _ in range(20): os.open("/dev/null", os.O_RDONLY)
def mutate(code=(lambda: 0).__code__): json.JSONEncoder.encode.__code__ = json.JSONEncoder.encode.__code__.replace(co_name="left")
mutate()
# Constants are shared objects of the interpreter: a job can change its own copies only.
import ctypes; ctypes.memset(id(10**9) + 24, 0, 1)
"""


def ok(outcome: Outcome) -> Outcome:
    assert outcome.exit == ("exited", 0), outcome.stderr.decode()
    return outcome


def test_nothing_passes_between_two_jobs_of_one_template(sandboxd: Path, environment: str) -> None:
    before = ok(run(sandboxd, environment, PROBE, seed=SEED)).stdout
    for _ in range(3):
        ok(run(sandboxd, environment, MISCHIEF, seed=SEED))
    after = ok(run(sandboxd, environment, PROBE, seed=SEED)).stdout
    first, second = json.loads(before), json.loads(after)
    assert {name: second[name] for name in second if second[name] != first[name]} == {}


def test_a_job_cannot_tell_warm_from_fresh_by_what_it_may_rely_on(sandboxd: Path, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = json.loads(ok(run(sandboxd, environment, PROBE, seed=SEED)).stdout)
    monkeypatch.setattr(sandbox_client, "DEFAULT_ISOLATION", "fresh")
    fresh = json.loads(ok(run(sandboxd, environment, PROBE, seed=SEED)).stdout)
    same = ("environment", "path", "argv", "descriptors", "files", "signals", "limits", "threads", "locale", "numbers", "settings")
    assert {name: warm[name] for name in same} == {name: fresh[name] for name in same}
    ours = {name for name in fresh["modules"] if name.startswith("ergon_")}
    assert set(fresh["modules"]) - ours - set(warm["modules"]) == set()


SCIENCE = """
import json, numpy, pandas
import matplotlib.pyplot as plt
data = numpy.random.default_rng().normal(size=(50, 3))
frame = pandas.DataFrame(data + numpy.random.rand(50, 3), columns=list("abc"))
frame.cumsum().plot(title=r"$\\sum x$", legend=True)
for kind in ("png", "svg"): plt.savefig("/workspace/output/plot." + kind)
frame.to_csv("/workspace/output/frame.csv"); numpy.save("/workspace/output/svd.npy", numpy.linalg.svd(frame)[1])
"""


def test_the_same_job_leaves_the_same_bytes_warm_and_fresh(sandboxd: Path, environment: str) -> None:
    found = [ok(run(sandboxd, environment, SCIENCE, seed=SEED, isolation=kind)).artifacts for kind in ("warm", "fresh", "warm")]
    assert sorted(found[0]) == ["frame.csv", "plot.png", "plot.svg", "svd.npy"]
    assert found[0] == found[1] == found[2]


def test_random_numbers_follow_the_seed_or_nobody(sandboxd: Path, environment: str) -> None:
    source = """
import random, numpy, scipy.stats, sympy, uuid
print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(), scipy.stats.norm.rvs(), sympy.core.random.random())
"""

    def drawn(seed: str | None, isolation: str) -> bytes:
        return ok(run(sandboxd, environment, source, seed=seed, isolation=isolation)).stdout

    assert drawn(SEED, "warm") == drawn(SEED, "fresh") != drawn("ab" * 32, "warm")
    free = [drawn(None, kind).split() for kind in ("warm", "warm", "fresh", "fresh")]
    for numbers in zip(*free, strict=True):
        assert len(set(numbers)) == len(numbers)
    secret = "import os, secrets, uuid\nprint(uuid.uuid4(), secrets.token_hex(), os.urandom(8))"
    assert len({ok(run(sandboxd, environment, secret, seed=SEED)).stdout for _ in range(3)}) == 3


def test_a_program_that_is_not_python_gets_a_container(sandboxd: Path, environment: str) -> None:
    outcome = ok(run(sandboxd, environment, "", entry={"kind": "exec", "argv": ["/usr/bin/true"], "cwd": "/workspace"}))
    assert outcome.isolation == "fresh"


def test_threads_of_numeric_libraries_are_those_of_the_job(sandboxd: Path, environment: str) -> None:
    warm_up(sandboxd, environment, cpu_percent=200)
    source = "import os\nprint(os.environ['OPENBLAS_NUM_THREADS'])"
    assert ok(run(sandboxd, environment, source, limits={"cpu_percent": 200})).stdout == b"2\n"
    assert ok(run(sandboxd, environment, source)).stdout == b"1\n"


def test_numeric_libraries_compute_with_several_threads(sandboxd: Path, environment: str) -> None:
    warm_up(sandboxd, environment, cpu_percent=200)
    source = "import numpy\na = numpy.ones((900, 900))\nprint((a @ a)[0, 0])"
    assert ok(run(sandboxd, environment, source, limits={"cpu_percent": 200})).stdout == b"900.0\n"


@pytest.mark.parametrize("isolation", ["warm", "fresh"])
def test_a_job_cannot_make_children_of_its_parent(sandboxd: Path, environment: str, isolation: str) -> None:
    # The parent reads wait statuses: a planted child could speak for another job.
    source = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
pid = libc.syscall(number, ctypes.c_long(0x8000 | 17), 0, 0, 0, 0)
if pid == 0: os._exit(0)
print(pid, ctypes.get_errno())
"""
    assert ok(run(sandboxd, environment, source, isolation=isolation)).stdout == b"-1 1\n"


def test_what_ended_before_speaks_for_no_later_job(sandboxd: Path, environment: str) -> None:
    # Many processes come and go in one template; each job's own status must be the one that is told.
    for code in range(1, 30):
        source = f"import os, subprocess\nfor _ in range(20):\n  if os.fork() == 0: os._exit(0)\n  os.wait()\nos._exit({code})"
        assert run(sandboxd, environment, source).exit == ("exited", code)


# The processes of a template, found from outside as an operator would: by its leaf.


def template_processes(live: LiveSandboxd) -> dict[str, int]:
    hierarchy = detect_hierarchy(instance_name(live.socket))
    (leaf,) = [name for name in hierarchy.leftovers() if name.startswith("template_")]
    found: dict[str, int] = {}
    for pid in hierarchy.open(leaf).processes():
        numbers = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")).split()[1:]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        # Three: of the host, of sandboxd, of the container; an init on its way to its own leaf has four.
        if b"launcher.py" in command and len(numbers) == 3:
            found["launcher" if numbers[-1] == "1" else "template"] = pid
    launcher = found["launcher"]
    sandboxd_child = int(Path(f"/proc/{launcher}/status").read_text().split("PPid:\t")[1].split()[0])
    found["keeper"] = sandboxd_child
    while b"run.py" not in Path(f"/proc/{found['keeper']}/cmdline").read_bytes():
        found["keeper"] = int(Path(f"/proc/{found['keeper']}/status").read_text().split("PPid:\t")[1].split()[0])
    return found


def wait_for_line(client: Client) -> None:
    while client.receive()[0]["type"] != "output":
        pass


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_another_template(live: LiveSandboxd, before: dict[str, int]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if template_processes(live)["template"] != before["template"]:
                return
        except (ValueError, KeyError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError("the template was not replaced")


def test_children_that_are_made_at_once_are_told_apart(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "8", "--ready", "1")
    warm_up(own.socket, environment)

    def job(number: int) -> tuple[int, Outcome]:
        return number, run(own.socket, environment, f"import sys\nprint({number})\nsys.exit({number})", expect_isolation=None)

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(job, range(1, 25)))
    assert [(outcome.exit, outcome.stdout) for _, outcome in ended] == [(("exited", number), b"%d\n" % number) for number, _ in ended]
    assert "warm" in {outcome.isolation for _, outcome in ended}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_template_that_dies_or_hangs_is_replaced_and_its_jobs_go_on(own: LiveSandboxd, environment: str, number: int) -> None:
    own.start("--max-sandboxes", "4")
    with Client(own.socket) as client:
        client.begin(environment, "import time\nprint('on', flush=True)\ntime.sleep(4)\nprint('done')")
        wait_for_line(client)
        before = template_processes(own)
        os.kill(before["template"], number)
        # Whatever the moment, the next jobs run: as children that were ready, or in containers of their own.
        for _ in range(4):
            with Client(own.socket) as next_client:
                next_client.begin(environment, "print(1)", isolation="warm", expect_isolation=None)
                assert next_client.finish().stdout == b"1\n"
        outcome = client.finish()
        assert outcome.exit == ("exited", 0) and outcome.stdout == b"on\ndone\n"
    until_another_template(own, before)
    assert ok(run(own.socket, environment, "print(2)")).isolation == "warm"


def test_a_template_whose_container_dies_takes_its_jobs_along_and_says_so(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "4")
    with Client(own.socket) as client:
        client.begin(environment, "import time\nprint('on', flush=True)\ntime.sleep(60)")
        wait_for_line(client)
        before = template_processes(own)
        os.kill(before["launcher"], signal.SIGKILL)
        with pytest.raises(Refused) as caught:
            client.finish()
        assert caught.value.code == "TEMPLATE_LOST"
    until_another_template(own, before)
    assert ok(run(own.socket, environment, "print(2)")).isolation == "warm"


def test_a_job_whose_init_dies_has_no_exit_of_its_own(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    for _ in range(5):
        with Client(sandboxd) as client:
            client.begin(environment, "import time\nprint('on', flush=True)\ntime.sleep(60)")
            wait_for_line(client)
            os.kill(next(pid for pid in daemon.processes() if innermost_pid(pid) == "1"), signal.SIGKILL)
            outcome = client.finish()
        assert outcome.exit == ("unknown", None) and outcome.killed_by is None


def innermost_pid(pid: int) -> str:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:"))
    return line.split()[-1]


def test_a_keeper_that_dies_is_replaced(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "4")
    ok(run(own.socket, environment, "print(1)"))
    before = template_processes(own)
    os.kill(before["keeper"], signal.SIGKILL)
    with Client(own.socket) as client:
        client.begin(environment, "print(2)", expect_isolation=None)
        assert client.finish().stdout == b"2\n"
    until_another_template(own, before)
    assert ok(run(own.socket, environment, "print(3)")).isolation == "warm"
    assert len([name for name in own.all_leaves() if name.startswith("template_")]) == 1


def test_a_ready_child_that_dies_is_replaced(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "4", "--ready", "2")
    ok(run(own.socket, environment, "print(1)"))
    hierarchy = detect_hierarchy(instance_name(own.socket))
    for name in own.all_leaves():
        if name.startswith("warm_"):
            pids = hierarchy.open(name).processes()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_until_gone(pids)
    # One that was killed while it was made takes its template along: the jobs until the next one get containers.
    until = time.monotonic() + 60
    isolations: list[str] = []
    while isolations[-1:] != ["warm"]:
        assert time.monotonic() < until, isolations
        isolations.append(str(ok(run(own.socket, environment, "print(2)", expect_isolation=None)).isolation))


def test_a_template_is_replaced_after_so_many_jobs(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "4", "--children-per-template", "3", "--ready", "1")
    with Client(own.socket) as client:
        client.begin(environment, "import time\nprint('on', flush=True)\ntime.sleep(8)\nprint('done')")
        wait_for_line(client)
        # A job that comes while a successor is imported gets a container, and counts for no template.
        until = time.monotonic() + 60
        while generation_of_template(own) < 2:
            assert time.monotonic() < until, own.all_leaves()
            with Client(own.socket) as other:
                other.begin(environment, "pass", expect_isolation=None)
                assert other.finish().exit == ("exited", 0)
        assert client.finish().stdout == b"on\ndone\n"
    deadline = time.monotonic() + 30
    while len([name for name in own.all_leaves() if name.startswith("template_")]) > 1:
        assert time.monotonic() < deadline, own.all_leaves()
        time.sleep(0.05)


def generation_of_template(live: LiveSandboxd) -> int:
    return max((int(name.rsplit("_", 1)[1]) for name in live.all_leaves() if name.startswith("template_")), default=0)


def test_a_busy_template_is_replaced_too(own: LiveSandboxd, environment: str) -> None:
    own.start("--max-sandboxes", "6", "--children-per-template", "6", "--ready", "1")
    ok(run(own.socket, environment, "pass"))

    def ask() -> None:
        for _ in range(5):
            with Client(own.socket) as client:
                client.begin(environment, "pass", expect_isolation=None)
                assert client.finish().exit == ("exited", 0)

    with ThreadPoolExecutor(5) as pool:
        for asked in [pool.submit(ask) for _ in range(5)]:
            asked.result()
    assert generation_of_template(own) >= 1


def test_an_environment_that_cannot_be_imported_says_why_and_its_jobs_still_run(tmp_path: Path, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_client, "BEFORE_CONNECT", None)
    environments = tmp_path / "environments"
    folder = environments / environment
    (folder / "rootfs").mkdir(parents=True)
    lock = json.loads((find_environment() / "lock.json").read_text())
    (folder / "lock.json").write_text(json.dumps({**lock, "warm_imports": ["no_such_module"]}))
    subprocess.run(["mount", "--bind", str(find_environment() / "rootfs"), str(folder / "rootfs")], check=True)
    home = tmp_path / "home"
    home.mkdir()
    live = LiveSandboxd(home, environments)
    try:
        live.start()
        with pytest.raises(Refused) as caught:
            warm_up(live.socket, environment)
        assert caught.value.code == "TEMPLATE_FAILED" and "no_such_module" in caught.value.message
        with Client(live.socket) as client:
            client.begin(environment, "print(1)", expect_isolation="fresh")
            assert client.finish().stdout == b"1\n"
        live.stop()
        live.wait_until_clean()
    finally:
        subprocess.run(["umount", str(folder / "rootfs")], check=True)


def test_kill_9_of_sandboxd_ends_templates_too(own: LiveSandboxd, environment: str) -> None:
    own.start()
    ok(run(own.socket, environment, "print(1)"))
    pids = list(template_processes(own).values())
    own.stop(signal.SIGKILL)
    wait_until_gone(pids)
    own.start()
    ok(run(own.socket, environment, "print(2)"))
    assert own.stop() == 0
    assert own.all_leaves() == []


def test_a_client_that_goes_away_while_a_child_is_its_own_leaves_nothing(sandboxd: Path, daemon: LiveSandboxd, environment: str) -> None:
    for stage in ("accepted", "files", "started"):
        with Client(sandboxd) as client:
            if stage == "accepted":
                client.sock.shutdown(socket.SHUT_WR)
            else:
                client.begin(environment, "import time; time.sleep(60)")
                if stage == "started":
                    client.expect("started")
    daemon.wait_until_clean()
