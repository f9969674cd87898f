"""What differs under runsc (gVisor), whose sandbox is a kernel of its own in user space.

It runs inside the user namespace that other runtimes make for the job, so that gVisor itself holds no right on the host.
It hands on no descriptors: status and report are FIFOs. Its network and its filter are its own, so what they refuse is
refused but counted by nobody: `network_attempts` and `denied_syscalls` stay 0.
"""

import copy
import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any, Final

from . import seccomp, syscalls
from .ids import IdMapping, id_space

# A mount point that exists: runsc would make a missing one in the shared environment.
_CHANNELS_INSIDE: Final = "/usr/lib/ergon/channels"
_CHANNELS: Final = ("status", "report")
_INIT: Final = "/usr/lib/ergon/init.py"
_INIT_BY_PATH: Final = "/usr/lib/ergon/init_by_path.py"
# Threads of gVisor itself, some for each processor, and shadows of the job's processes and threads, several for each. When
# the host refuses it one, the whole sandbox ends: Python's pools of two processes came to more than 64.
RUNTIME_PIDS: Final = 256
# gVisor's kernel and its file server live in the job's leaf and are charged to it.
RUNTIME_MEMORY_BYTES: Final = 96 << 20
_OPTIONS: Final = ("--platform=ptrace", "--ignore-cgroups", "--network=none", "--host-fifo=open", "--oci-seccomp", "--overlay2=none")
_TRIAL_SECONDS: Final = 20


def options() -> list[str]:
    """Return runsc's global options: ptrace works without /dev/kvm, and the leaf is ours."""
    return list(_OPTIONS)


def adapt_spec(spec: dict[str, Any], channels: Path, shm_bytes: int, inside: str = _CHANNELS_INSIDE) -> dict[str, Any]:
    """Return the specification for runsc: no namespaces but those of its own kernel, and no notified calls."""
    adapted = copy.deepcopy(spec)
    linux, process = adapted["linux"], adapted["process"]
    linux["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]
    for name in ("uidMappings", "gidMappings"):
        linux.pop(name, None)
    linux["seccomp"] = _without_notification(linux["seccomp"])
    # Its /dev has no place for a mount of ours, so this is memory of its own, and not among the volumes that are measured.
    shm = {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "mode=1777", f"size={shm_bytes}"]}
    mounts = [shm if mount["destination"] == "/dev/shm" else mount for mount in adapted["mounts"]]
    bound = {"destination": inside, "type": "bind", "source": str(channels), "options": ["bind", "nosuid", "nodev", "noexec"]}
    adapted["mounts"] = [*mounts, bound]
    process["args"] = [_INIT_BY_PATH if word == _INIT else word for word in process["args"]]
    return adapted


def _without_notification(profile: dict[str, Any]) -> dict[str, Any]:
    rules = [_refuse_or_keep(rule, profile["defaultErrnoRet"]) for rule in profile["syscalls"]]
    return {**{key: value for key, value in profile.items() if key != "listenerPath"}, "syscalls": rules}


def _refuse_or_keep(rule: dict[str, Any], errno: int) -> dict[str, Any]:
    if rule["action"] == "SCMP_ACT_NOTIFY":
        return {**rule, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    if rule["names"] == ["clone3"]:
        # It answers EPERM whatever error a rule names, and with that the C library would make no thread. Without a rule
        # gVisor itself says ENOSYS; a version that has the call has no namespaces of the host to give.
        return {"names": ["clone3"], "action": "SCMP_ACT_ALLOW"}
    return rule


def make_channels(folder: Path, root_uid: int) -> tuple[int, int]:
    """Make the FIFOs, for the sandbox's root alone, and return our ends: status and report."""
    folder.mkdir(mode=0o700)
    ends = []
    for name in _CHANNELS:
        path = folder / name
        os.mkfifo(path, 0o600)
        os.chown(path, root_uid, root_uid)
        ends.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    os.chown(folder, root_uid, root_uid)
    status, report = ends
    return status, report


def enter_user_namespace(mappings: list[IdMapping]) -> None:
    """Make the caller root of a new user namespace with these ids and no others; a child that stays outside maps them."""
    entered_reading, entered_writing = os.pipe2(os.O_CLOEXEC)
    text = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in mappings)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(entered_writing)
            if os.read(entered_reading, 1):
                for name in ("uid_map", "gid_map"):
                    Path(f"/proc/{me}/{name}").write_text(text)
                code = 0
        finally:
            os._exit(code)
    os.close(entered_reading)
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    os.write(entered_writing, b"1")
    os.close(entered_writing)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("the ids of the sandbox could not be mapped")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def try_out(path: str, spare: Path) -> None:
    """Start the smallest sandbox with all that jobs need of runsc; OSError says what this host's runsc cannot do.

    `spare` is a folder that is covered in a mount namespace of the trial's own.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, _trial(path, spare).encode()[:4000])
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        answer = answers.read().decode(errors="replace")
    os.waitpid(child, 0)
    if answer != "ok":
        raise OSError(f"runsc cannot start a sandbox here: {answer}")


def _trial(path: str, spare: Path) -> str:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("tmpfs", str(spare), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0711,size=16m")
    root_uid = id_space().root_of("f" * 16, 0)
    status, _ = make_channels(spare / "channels", root_uid)
    for name in ("state", "bundle", "inside"):
        (spare / name).mkdir()
    os.chown(spare / "state", root_uid, root_uid)
    (spare / "bundle" / "config.json").write_text(json.dumps(adapt_spec(_trial_spec(spare), spare / "channels", 4096, f"{spare}/inside")))
    command = [path, f"--root={spare / 'state'}", *_OPTIONS, "run", f"--bundle={spare / 'bundle'}", "trial"]
    mappings = id_space().mappings(root_uid)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TRIAL_SECONDS, preexec_fn=lambda: enter_user_namespace(mappings))
    if done.returncode != 0:
        return f"exit status {done.returncode}: {done.stderr.strip()[-1500:]}"
    if not select.select([status], [], [], 0)[0] or os.read(status, 16) != b"started\n":
        return "it does not pass FIFOs on (--host-fifo)"
    return "ok"


def _trial_spec(spare: Path) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh", "-c", f"echo started >{spare}/inside/status"],
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
            "noNewPrivileges": True,
        },
        "root": {"path": "/", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
        "linux": {"seccomp": seccomp.profile(Path("/nonexistent"))},
    }
