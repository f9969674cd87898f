"""The compiled filter against the text it comes from, against crun's own, and loaded into the kernel."""

import base64
import ctypes
import errno
import json
import os
import platform
import select
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bpf_machine import ALLOW, AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, KILL, NOTIFY, Program, interesting_arguments, meaning
from ergon_sandboxd import seccomp
from ergon_sandboxd.bpf import compile_profile
from ergon_sandboxd.runtime import seal_runtimes
from live_sandboxd import find_environment

NATIVE = {"x86_64": AUDIT_ARCH_X86_64, "aarch64": AUDIT_ARCH_AARCH64}[platform.machine()]
X32_BIT = 0x40000000
PROFILES = {"job": seccomp.job_profile(), "template": seccomp.template_profile()}
LAST_CALL = 470


def call_names() -> dict[int, str]:
    """Every call the library knows on this machine."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    arch = library.seccomp_arch_native()
    found = {number: library.seccomp_syscall_resolve_num_arch(arch, number) for number in range(LAST_CALL)}
    return {number: name.decode() for number, name in found.items() if name is not None}


@pytest.mark.parametrize("kind", PROFILES)
def test_the_program_means_what_the_profile_says(kind: str) -> None:
    profile, checked = PROFILES[kind], 0
    program = Program(compile_profile(profile))
    for number, name in call_names().items():
        for arguments in interesting_arguments(profile, name):
            assert program.run(NATIVE, number, arguments) == meaning(profile, name, arguments), (name, arguments)
            checked += 1
    assert checked > 800


@pytest.mark.parametrize("kind", PROFILES)
def test_other_architectures_and_unknown_numbers(kind: str) -> None:
    program = Program(compile_profile(PROFILES[kind]))
    for number in (*range(LAST_CALL), X32_BIT, X32_BIT + 1, -1):
        for architecture in (AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 if NATIVE == AUDIT_ARCH_X86_64 else AUDIT_ARCH_X86_64, 0):
            assert program.run(architecture, number, (0,) * 6) == KILL
    assert program.run(NATIVE, 9999, (0,) * 6) == 0x00050000 | errno.EPERM
    if NATIVE == AUDIT_ARCH_X86_64:
        # The x32 numbers are another architecture behind the same identifier.
        assert {program.run(NATIVE, X32_BIT + number, (0,) * 6) for number in range(LAST_CALL)} == {KILL}


def test_a_template_may_do_whatever_a_job_may_and_whatever_is_counted() -> None:
    job, template = (Program(compile_profile(profile)) for profile in PROFILES.values())
    for number, name in call_names().items():
        for arguments in interesting_arguments(PROFILES["job"], name):
            if job.run(NATIVE, number, arguments) in (ALLOW, NOTIFY):
                assert template.run(NATIVE, number, arguments) == ALLOW, (name, arguments)
    numbers = {name: number for number, name in call_names().items()}
    everything = (0xFFFFFFFF,) * 6
    needed = "clone unshare setns mount umount2 pivot_root move_mount open_tree fsopen fsconfig fsmount mount_setattr sethostname capset seccomp prctl"
    assert {name: template.run(NATIVE, numbers[name], everything) for name in needed.split()} == dict.fromkeys(needed.split(), ALLOW)
    assert not any("listenerPath" in profile for profile in PROFILES.values())
    assert NOTIFY not in {template.run(NATIVE, number, everything) for number in numbers.values()}


def test_crun_makes_an_equivalent_program(tmp_path: Path) -> None:
    profile = PROFILES["job"]
    theirs, ours = Program(_export_of_crun(profile, tmp_path)), Program(compile_profile(profile))
    for number in (*range(LAST_CALL), -1, X32_BIT, X32_BIT + 41, 9999):
        name = call_names().get(number, "")
        for arguments in interesting_arguments(profile, name):
            for architecture in (NATIVE, AUDIT_ARCH_I386):
                assert ours.run(architecture, number, arguments) == theirs.run(architecture, number, arguments), (name, arguments)


def _export_of_crun(profile: dict[str, Any], folder: Path) -> bytes:
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": str(find_environment() / "rootfs"), "readonly": True},
        # Without it crun would make its devices in the environment's own folder.
        "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "seccomp": profile},
    }
    (folder / "config.json").write_text(json.dumps(config))
    # The v2 mount of a hybrid host is hidden from crun, which refuses to work beside it.
    script = f"""umount /sys/fs/cgroup/unified 2>/dev/null
set -e
crun="crun --cgroup-manager=disabled --root {folder}/state"
$crun create --bundle {folder} exporting < /dev/zero > /dev/null
base64 -w 0 {folder}/state/exporting/seccomp.bpf
$crun delete --force exporting"""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE, check=True)
    return base64.b64decode(done.stdout)


# Loads the program given as its first argument, hands the listener's descriptor over, then makes calls and prints the answers.
CHILD = """
import ctypes, errno, os, socket, struct, sys
code = bytes.fromhex(sys.argv[1]); channel = socket.socket(fileno=int(sys.argv[2])); calls = [int(word) for word in sys.argv[3].split()]
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
listener = libc.syscall(SECCOMP, 1, 8, ctypes.byref(Program(len(code) // 8, code)))
assert listener >= 0, os.strerror(ctypes.get_errno())
socket.send_fds(channel, [b"x"], [listener]); os.close(listener)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(each) for each in arguments])
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(*(call(number, *(0x7fffffff,) * 6) for number in calls), flush=True)
"""


def _answers(program: bytes, numbers: list[int]) -> tuple[list[str], Counter[int]]:
    """Make calls under a loaded filter; returns what each answered and which were notified."""
    ours, theirs = socket.socketpair()
    source = CHILD.replace("SECCOMP", {"x86_64": "317", "aarch64": "277"}[platform.machine()])
    arguments = [sys.executable, "-S", "-c", source, program.hex(), str(theirs.fileno()), " ".join(map(str, numbers))]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()], text=True)
    theirs.close()
    counts: Counter[int] = Counter()
    _, (listener, *_), _, _ = socket.recv_fds(ours, 16, 1)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    while not poller.poll(10_000)[0][1] & select.POLLHUP:
        counts[_deny(listener)] += 1
    os.close(listener)
    ours.close()
    output, _ = child.communicate(timeout=10)
    assert child.returncode == 0
    return output.split(), counts


def _deny(listener: int) -> int:
    from fcntl import ioctl

    from ergon_sandboxd.denials import _NOTIFICATION, _RECEIVE, _RESPONSE, _SEND

    buffer = bytearray(_NOTIFICATION.size)
    ioctl(listener, _RECEIVE, buffer)
    identifier, number, _ = _NOTIFICATION.unpack(buffer)
    ioctl(listener, _SEND, _RESPONSE.pack(identifier, 0, -errno.EPERM, 0))
    return int(number)


def test_the_kernel_takes_it_and_notifies_every_counted_call() -> None:
    counted = sorted(numbers[platform.machine()] for numbers in seccomp._COUNTED.values() if platform.machine() in numbers)
    names = {name: number for number, name in call_names().items()}
    # mknod of all those bits is no kind of device, and mmap one of huge pages: refused without being counted.
    uncounted = {names[name] for name in ("mknod", "mknodat", "mmap") if name in names}
    answers, notified = _answers(compile_profile(PROFILES["job"]), counted)
    assert answers == ["EPERM"] * len(counted)
    assert notified == Counter(set(counted) - uncounted)


def test_what_is_allowed_or_refused_notifies_nobody() -> None:
    names = {name: number for number, name in call_names().items()}
    wanted = {"getpid": "ok", "umask": "ok", "clone3": "ENOSYS", "inotify_init1": "EPERM", "personality": "EPERM", "syncfs": "EPERM", "close": "EBADF"}
    answers, notified = _answers(compile_profile(PROFILES["job"]), [names[name] for name in wanted])
    assert dict(zip(wanted, answers, strict=True)) == wanted and not notified


def test_what_no_profile_of_ours_has_is_refused() -> None:
    base: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": []}
    condition: dict[str, Any] = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    twice: dict[str, Any] = {"names": ["close"], "action": "SCMP_ACT_ALLOW", "args": [condition, {**condition, "value": 2}]}
    changes: list[dict[str, Any]] = [{"defaultAction": "SCMP_ACT_TRACE"}, {"defaultErrnoRet": 0}, {"architectures": ["SCMP_ARCH_Z80"]}, {"syscalls": [twice]}]
    for change in changes:
        with pytest.raises(ValueError):
            compile_profile({**base, **change})


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ergon_sandboxd.bpf._LIBRARY", "libseccomp-missing.so.2")
    with pytest.raises(OSError, match="install the package libseccomp2"):
        compile_profile(PROFILES["job"])


def test_a_sealed_runtime_is_the_same_program_and_cannot_be_written(tmp_path: Path) -> None:
    found = seal_runtimes(tmp_path)
    for path, executable in found.items():
        assert Path(executable).read_bytes() == Path(path).read_bytes() and Path(executable).name == Path(path).name
        with open(executable, "r+b", buffering=0) as copy:
            with pytest.raises(PermissionError):
                copy.write(b"x")
            with pytest.raises(PermissionError):
                copy.truncate(0)
        version = [subprocess.run([each, "--version"], stdout=subprocess.PIPE, check=True).stdout for each in (path, executable)]
        assert version[0] == version[1]
        os.close(int(os.path.basename(os.readlink(executable))))
    assert [Path(path).name for path in found] == ["crun"]
