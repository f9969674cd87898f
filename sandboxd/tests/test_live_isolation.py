"""What jobs cannot reach: every attempt runs in a real sandbox."""

import json
from pathlib import Path

import pytest

from sandbox_client import run

pytestmark = pytest.mark.usefixtures("each_start")

PRELUDE = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def attempt(name, body):
    try: found[name] = f"allowed: {body()!r}"
    except OSError as error: found[name] = errno.errorcode[error.errno]
def call(number, *arguments):
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
"""
EPILOGUE = "\njson.dump(found, open('/workspace/result.json', 'w'))\n"


def attempts(sandboxd: Path, environment: str, source: str) -> dict[str, str]:
    outcome = run(sandboxd, environment, PRELUDE + source + EPILOGUE)
    assert outcome.exit == ("exited", 0), outcome.stderr.decode()
    found: dict[str, str] = json.loads(outcome.result or b"")
    return found


def test_files(sandboxd: Path, environment: str) -> None:
    source = """
for path in ("/etc/shadow", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc/passwd", "/proc/1/cwd/x", "/root/x"):
    attempt(path, lambda: open(path, "rb").read(10))
attempt("init's descriptors", lambda: os.listdir("/proc/1/fd"))
for fd in range(8): attempt(f"init fd {fd}", lambda: os.open(f"/proc/1/fd/{fd}", os.O_WRONLY))
for path in ("/bin/x", "/usr/lib/python3/x", "/workspace/code/x", "/workspace/input/x", "/usr/lib/ergon/x", "/x", "/proc/sys/kernel/core_pattern", "/workspace/code/main.py"):
    attempt("write " + path, lambda: open(path, "w"))
attempt("rename mount point", lambda: os.rename("/workspace/code", "/workspace/other"))
for name in ("cmdline", "kallsyms", "kcore", "keys", "timer_list"):
    try: text = open("/proc/" + name, "rb").read(10)
    except OSError: text = b""
    found["masked " + name] = "empty" if not text else "readable"
found["sys"] = str(os.listdir("/sys"))
"""
    found = attempts(sandboxd, environment, source)
    assert found.pop("sys") == "[]"
    assert all(value == "empty" for name, value in found.items() if name.startswith("masked"))
    bad = {k: v for k, v in found.items() if not k.startswith("masked") and v not in ("EACCES", "EPERM", "EROFS", "EBUSY", "EIO", "ENOENT")}
    assert bad == {} and found["/etc/shadow"] in ("EACCES", "ENOENT")
    assert found["/proc/1/environ"] == found["/proc/1/mem"] == found["init's descriptors"] == "EACCES"


def test_the_host_and_other_jobs_cannot_be_watched_or_drained(sandboxd: Path, environment: str) -> None:
    source = """
import fcntl, signal
shared = os.open("/usr/bin/python3", os.O_RDONLY)
attempt("inotify", lambda: call(294, 0))
attempt("dnotify", lambda: fcntl.fcntl(os.open("/usr/bin", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS))
attempt("dnotify in 64 bits", lambda: call(72, shared, fcntl.F_NOTIFY | 1 << 32, 1))
attempt("syncfs", lambda: call(306, shared))
attempt("huge pages", lambda: call(9, 0, 2 << 20, 3, 0x40022, -1, 0))
attempt("huge pages in a file", lambda: call(319, b"x", 4))
attempt("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))
attempt("mptcp", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262))
attempt("udplite", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136))
attempt("dccp", lambda: socket.socket(socket.AF_INET, 6, 0))
"""
    found = attempts(sandboxd, environment, source)
    assert {k: v for k, v in found.items() if v != "EPERM"} == {} and len(found) == 10


def test_what_programs_need_of_the_narrowed_calls_works(sandboxd: Path, environment: str) -> None:
    source = """
import fcntl, mmap, tempfile
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX): socket.socket(family, kind | socket.SOCK_CLOEXEC).close()
socket.create_server(("127.0.0.1", 0)).close()
socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP).close()
file = tempfile.TemporaryFile()
fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_NONBLOCK)
fcntl.lockf(file, fcntl.LOCK_EX)
fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10)
sealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
os.ftruncate(sealed, 4096)
mmap.mmap(sealed, 4096).close()
fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
found["pipe"] = str(fcntl.fcntl(os.pipe()[0], fcntl.F_SETPIPE_SZ, 1 << 16))
"""
    assert attempts(sandboxd, environment, source) == {"pipe": "65536"}


def test_network_buffers_are_limited(sandboxd: Path, environment: str) -> None:
    source = """
taken, kept = 0, []
for _ in range(60):
    kept.append(receiver := socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind(("127.0.0.1", 0))
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept.append(sender := socket.create_connection(server.getsockname()))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        kept.append(server.accept()[0])
    sender.setblocking(False)
    for send in (sender.send, lambda data: kept[-3].sendto(data[:8000], receiver.getsockname())):
        try:
            for _ in range(64): send(b"x" * 65536)
        except OSError: pass
for line in open("/proc/net/sockstat"):
    name, *words = line.split()
    if "mem" in words: found[name] = words[words.index("mem") + 1]
"""
    outcome = run(sandboxd, environment, PRELUDE + source + EPILOGUE, limits={"memory_bytes": 64 << 20})
    found: dict[str, str] = json.loads(outcome.result or b"")
    # v2 counts them as memory; v1 has a limit of their own.
    assert sum(int(pages) * 4096 for pages in found.values()) < 96 << 20


def test_system_calls(sandboxd: Path, environment: str) -> None:
    source = """
import resource
calls = {"mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0), "umount": (166, b"/tmp", 0), "unshare user": (272, 0x10000000), "setns": (308, 0, 0),
 "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "ptrace": (101, 16, 1, 0, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
 "pidfd_getfd": (438, 0, 0, 0), "io_uring_setup": (425, 1, 0), "keyctl": (250, 0, 0), "add_key": (248, 0, 0, 0, 0, 0), "bpf": (321, 0, 0, 0), "perf": (298, 0, 0, 0, 0, 0),
 "userfaultfd": (323, 0), "kexec": (246, 0, 0, 0, 0), "memfd_secret": (447, 0), "open_by_handle_at": (304, 0, 0, 0), "chroot": (161, b"/tmp"), "fsopen": (430, b"tmpfs", 0),
 "personality": (135, 0x0040000), "setuid": (105, 0), "setgid": (106, 0), "mknod device": (133, b"/tmp/n", 0o020666, 0x0105), "reboot": (169, 0, 0, 0, 0), "sethostname": (170, b"x", 1),
 "kill init": (62, 1, 9), "stop init": (62, 1, 19), "prlimit init": (302, 1, 7, ctypes.byref((ctypes.c_ulong * 2)(0, 0)), 0), "init_module": (175, 0, 0, 0)}
for name, arguments in calls.items(): attempt(name, lambda: call(*arguments))
attempt("clone3", lambda: call(435, 0, 0))
for family in (16, 17, 38, 40, 30): attempt(f"socket {family}", lambda: socket.socket(family, socket.SOCK_RAW if family in (16, 17) else socket.SOCK_STREAM))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
found["caps"] = status["CapEff"] + status["CapPrm"] + status["CapAmb"] + status["CapInh"]
found["nnp"] = status["NoNewPrivs"]; found["seccomp"] = status["Seccomp"]; found["groups"] = status["Groups"].strip()
found["core"] = str(resource.getrlimit(resource.RLIMIT_CORE))
"""
    found = attempts(sandboxd, environment, source)
    assert found.pop("clone3") == "ENOSYS"
    assert found.pop("caps") == "0" * 64 and found.pop("nnp") == "1" and found.pop("seccomp") == "2" and found.pop("groups") == ""
    assert found.pop("core") == "(0, 0)"
    assert {k: v for k, v in found.items() if v not in ("EPERM", "EACCES", "EINVAL")} == {}
    assert {k: v for k, v in found.items() if v == "EINVAL"} == {}


def test_network(sandboxd: Path, environment: str) -> None:
    source = """
def connect(family, address):
    s = socket.socket(family); s.settimeout(3); s.connect(address)
attempt("tcp", lambda: connect(socket.AF_INET, ("8.8.8.8", 53)))
attempt("tcp6", lambda: connect(socket.AF_INET6, ("2001:4860:4860::8888", 53)))
attempt("metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
try: socket.getaddrinfo("example.com", 80); found["dns"] = "allowed"
except socket.gaierror: found["dns"] = "ENETUNREACH"
attempt("abstract", lambda: connect(socket.AF_UNIX, "\\0anything"))
"""
    found = attempts(sandboxd, environment, source)
    assert found.pop("abstract") == "ECONNREFUSED"
    # A kernel without IPv6 says so instead.
    assert set(found.values()) <= {"ENETUNREACH", "EAFNOSUPPORT"}


def test_a_job_cannot_end_its_supervision(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "import os\nfor n in range(1, 65):\n  for p in (1, -1):\n    try: os.kill(p, n) if (p, n) != (-1, 9) else 0\n    except OSError: pass\n" + "os._exit(5)", limits={"wall_ms": 5000})
    # kill(-1) reaches no process but the job itself is exempt: it lives, or its own child's signal numbers say so.
    assert outcome.exit == ("exited", 5)


def test_foreign_architecture_is_killed(sandboxd: Path, environment: str) -> None:
    source = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
    outcome = run(sandboxd, environment, source)
    assert outcome.exit == ("signaled", 31)


def test_init_never_holds_the_jobs_variables(sandboxd: Path, environment: str) -> None:
    outcome = run(sandboxd, environment, "import os; print(os.environ['LD_PRELOAD'])", env={"LD_PRELOAD": "/workspace/code/evil.so"}, files={"code/evil.so": b"no"})
    assert outcome.stdout == b"/workspace/code/evil.so\n" and outcome.stderr == b""


@pytest.mark.parametrize("name", ["PATH", "HOME", "TZ"])
def test_the_environment_is_a_closed_set(sandboxd: Path, environment: str, name: str) -> None:
    outcome = run(sandboxd, environment, "import os, json; print(json.dumps(dict(os.environ)))")
    variables = json.loads(outcome.stdout)
    assert name in variables
    prefixes = ("ERGON_", "PRAXIS_", "OMP_", "OPENBLAS_", "MKL_", "NPY_", "MPL", "PYTHON", "LC_")
    assert {n for n in variables if not n.startswith(prefixes)} == {"PATH", "HOME", "LANG", "TZ", "SOURCE_DATE_EPOCH"}
