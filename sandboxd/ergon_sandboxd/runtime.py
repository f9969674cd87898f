"""Starting the OCI runtime inside a cgroup leaf of ours, with pipes for all that comes out."""

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import gvisor, syscalls
from .cgroup import Leaf
from .errors import SandboxError
from .ids import id_space
from .launch import spawn_in_groups
from .log import log as log_line
from .messages import Isolation
from .oci_spec import PASSED_DESCRIPTORS, REPORT_FD, STATUS_FD
from .process import sleep_until_end
from .uplink.process import UPLINK_MEMORY_BYTES

# The leaf is ours. runc has no switch to leave v1 groups alone, but goes without those that it may not write.
_OPTIONS: Final = {"crun": ["--cgroup-manager=disabled"], "runc": ["--rootless=true"], "runsc": gvisor.options()}
_CGROUP_MOUNTS: Final = "/sys/fs/cgroup"
_V2_MARK: Final = "/sys/fs/cgroup/cgroup.controllers"
SUPPORTED: Final = tuple(_OPTIONS)
_DETACHING: Final = frozenset({"runc"})
# The runtimes that load a compiled seccomp program; the others translate the rules at each start.
TAKES_PROGRAM: Final = frozenset({"crun"})
# Those that copy themselves, or bind themselves read-only, at each start, lest a container write to the host's binary.
_COPIES_ITSELF: Final = frozenset({"crun"})
# What runtime and init take of the leaf's processes at the most, which is while they start: runc is two dozen threads.
RUNTIME_PIDS: Final = {"crun": 3, "runc": 24, "runsc": gvisor.RUNTIME_PIDS}
# What it takes of the leaf's memory for as long as the job runs.
RUNTIME_MEMORY_BYTES: Final = {"crun": 0, "runc": 0, "runsc": gvisor.RUNTIME_MEMORY_BYTES}
_NO_PRIVILEGE: Final = syscalls.MS_NOSUID | syscalls.MS_NODEV
# runsc sets the root file system's flags anew, and the kernel lets it lift none. Inside it they would mean nothing:
# set-user-id programs and device nodes are gVisor's, and it has neither for a job without new privileges.
ROOT_FLAGS: Final = {"crun": _NO_PRIVILEGE, "runc": _NO_PRIVILEGE, "runsc": 0}
# Those that hand descriptors of ours on to init.
_PASSES_DESCRIPTORS: Final = frozenset({"crun", "runc"})
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_LOG_BYTES: Final = 4096
# linux/memfd.h; kernels before 6.3 do not know it and need it not.
_MFD_EXEC: Final = 0x10
_ALL_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHANNELS: Final = "channels"


_located: dict[str, str] = {}


def locate(name: str) -> str | None:
    """Return the path of a supported runtime, or None when it is not installed; one that was found is not looked for again."""
    if name not in _located and name in SUPPORTED:
        found = shutil.which(name, path=_SEARCH_PATH)
        if found is None:
            return None
        _located[name] = found
    return _located.get(name)


def find_runtime(name: str) -> str:
    """Return the runtime's path; SandboxError RUNTIME_NOT_FOUND when it is not supported or not installed."""
    path = locate(name)
    if path is None:
        raise SandboxError("RUNTIME_NOT_FOUND", f"the OCI runtime {name} is not available; supported: {', '.join(SUPPORTED)}")
    return path


def seal_runtimes(folder: Path) -> dict[str, str]:
    """Return, by path, what to execute instead of a runtime that would otherwise copy itself at each start.

    The links are made in `folder`; they lead to descriptors of this process, which must stay.

    crun accepts to be a sealed file in memory: nobody can write to it, and it is spared an unmount (some milliseconds of
    waiting for the kernel) and a second start. A runtime that cannot be sealed is simply not in the answer.
    """
    found = {}
    for path in filter(None, map(locate, sorted(_COPIES_ITSELF))):
        try:
            link = folder / os.path.basename(path)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{_sealed_copy(Path(path).read_bytes())}")
            found[path] = str(link)
        except OSError as error:
            log_line(f"cannot keep a sealed copy of {path}: {error}")
    return found


def _sealed_copy(content: bytes) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        file = os.memfd_create("runtime", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        file = os.memfd_create("runtime", flags)
    with open(file, "wb", closefd=False) as copy:
        copy.write(content)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, _ALL_SEALS)
    return file


def try_out(name: str | None, spare: Path) -> None:
    """Check that a runtime, or when none is named any, can be used here; SandboxError or OSError says why not.

    `spare` is a folder that a trial may cover for itself.
    """
    if name == "runsc":
        gvisor.try_out(find_runtime(name), spare)
    elif name is not None:
        find_runtime(name)
    elif not any(map(locate, SUPPORTED)):
        raise OSError(f"none of {', '.join(SUPPORTED)} is installed")


def max_open_files() -> int:
    """Return this process's hard limit, beyond which no child can go without CAP_SYS_RESOURCE."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard > 0 else 1 << 20


class Pipes(NamedTuple):
    """What comes out of a sandbox, our ends and its own: stdout, stderr, status, report, in this order."""

    reading: list[int]
    writing: list[int]

    @staticmethod
    def open() -> "Pipes":
        """Make four pipes, ours not blocking."""
        reading, writing = zip(*(os.pipe2(os.O_CLOEXEC) for _ in range(4)), strict=True)
        # They are ours or, by the runtime, init's: without this a job could write to them but not open /dev/stdout.
        for fd in writing[:2]:
            os.fchmod(fd, 0o622)
        for fd in reading:
            os.set_blocking(fd, False)
        return Pipes(list(reading), list(writing))

    @staticmethod
    def open_with(channels: tuple[int, int]) -> "Pipes":
        """Make two pipes for the streams, where status and report come by other ways."""
        pipes = Pipes.open()
        for end in (*pipes.reading[2:], *pipes.writing[2:]):
            os.close(end)
        return Pipes([*pipes.reading[:2], *channels], pipes.writing[:2])

    def close_writing(self) -> None:
        """Close the sandbox's ends here, so that ours end when it ends."""
        while self.writing:
            os.close(self.writing.pop())

    def close(self) -> None:
        """Close everything."""
        self.close_writing()
        for fd in self.reading:
            os.close(fd)


@dataclass
class RuntimeProcess:
    """A started runtime and our ends of its pipes."""

    kind: str
    pid: int
    pidfd: int
    stdout: int
    stderr: int
    status: int
    report: int
    gate: int | None
    bundle: Path
    exit_code: int | None = None
    isolation: Isolation = "fresh"
    has_uplink: bool = False

    @property
    def detaches(self) -> bool:
        """True when it hands init to us and ends."""
        return self.kind in _DETACHING

    def reap(self) -> None:
        """Collect the runtime's exit if it has ended, and every process of the sandbox that it left to us."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.exit_code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return

    @property
    def is_over(self) -> bool:
        """True when the runtime has ended and the job cannot live on without it."""
        return self.exit_code is not None and not (self.detaches and self.exit_code == 0)

    @property
    def companions(self) -> int:
        """Init, a runtime that waits for it, and an uplink process; of gVisor all its threads."""
        return int(self.has_uplink) + self._runtime_processes

    @property
    def _runtime_processes(self) -> int:
        return 1 if self.detaches else gvisor.RUNTIME_PIDS if self.kind == "runsc" else 2

    @property
    def companion_bytes(self) -> int:
        """What the runtime itself, and an uplink process, take of the leaf's memory."""
        return RUNTIME_MEMORY_BYTES[self.kind] + (UPLINK_MEMORY_BYTES if self.has_uplink else 0)

    @property
    def has_started(self) -> bool:
        """True when it has no more to do for the start, and needs none of the processes that it needed for that."""
        return not self.detaches or self.exit_code == 0

    @property
    def is_limited(self) -> bool:
        """Never so: while it starts it has more processes than the job, and a small share of CPU time would slow it down."""
        return False

    def let_job_begin(self) -> None:
        """Open the gate that init waits at."""
        if self.gate is not None:
            os.close(self.gate)
            self.gate = None

    def is_ending(self) -> bool:
        """Never so: init, which would tell the wait status, is what ends."""
        return False

    def wait_for_end(self, seconds: float) -> None:
        """Sleep for so long, or until the runtime has ended, which is after the init that it waits for."""
        sleep_until_end(self, seconds)

    def check_foundation(self) -> None:
        """Nothing: a container of its own stands on nothing that others could end."""

    def failure(self) -> str:
        """Return what the runtime logged, shortened and without the bundle's path."""
        try:
            text = log_file(self.bundle).read_bytes()[-_MAX_LOG_BYTES:].decode(errors="replace")
        except OSError:
            return "no log"
        return _log_messages(text).replace(str(self.bundle), "<bundle>")

    def close(self) -> None:
        """Close every descriptor."""
        self.let_job_begin()
        for fd in (self.pidfd, self.stdout, self.stderr, self.status, self.report):
            os.close(fd)


def _log_messages(text: str) -> str:
    messages = []
    for line in text.splitlines():
        try:
            messages.append(str(json.loads(line)["msg"]))
        except (ValueError, KeyError, TypeError):
            messages.append(line)
    return "; ".join(messages) or "no log"


def adapt_spec(name: str, spec: dict[str, Any], bundle: Path, disk_bytes: int) -> dict[str, Any]:
    """Return the specification as this runtime wants it."""
    return gvisor.adapt_spec(spec, bundle / _CHANNELS, disk_bytes) if name == "runsc" else spec


def runtime_command(path: str, name: str, bundle: Path) -> list[str]:
    """Return the command line that runs a bundle as the container `name`."""
    kind = os.path.basename(path)
    arguments = [path, *_OPTIONS[kind], f"--root={bundle / 'runtime'}", f"--log={log_file(bundle)}", "--log-format=json", "run"]
    # Attached, runc would copy the job's output through pipes of its own, and take the rest along when it is killed.
    arguments += ["--detach"] if kind in _DETACHING else []
    arguments += [f"--preserve-fds={PASSED_DESCRIPTORS}"] if kind in _PASSES_DESCRIPTORS else []
    return [*arguments, f"--bundle={bundle}", name]


def log_file(bundle: Path) -> Path:
    """Return where the runtime of a bundle logs."""
    return bundle / "runtime" / "log"


def start_runtime(path: str, executable: str, name: str, bundle: Path, leaf: Leaf, root_uid: int) -> RuntimeProcess:
    """Start the runtime as a member of the leaf; SandboxError RUNTIME_FAILED when not even that is possible.

    `executable` is what to load for `path`: see seal_runtimes.
    """
    pipes = Pipes.open() if os.path.basename(path) in _PASSES_DESCRIPTORS else Pipes.open_with(gvisor.make_channels(bundle / _CHANNELS, root_uid))
    if os.path.basename(path) not in _PASSES_DESCRIPTORS:
        os.chown(bundle / "runtime", root_uid, root_uid)
    try:
        return launch(executable, runtime_command(path, name, bundle), leaf, pipes, bundle, root_uid)
    except SandboxError:
        pipes.close()
        raise


def launch(executable: str, arguments: list[str], leaf: Leaf, pipes: Pipes, bundle: Path, root_uid: int) -> RuntimeProcess:
    """Start a command as a member of the leaf, which takes over the writing ends; SandboxError RUNTIME_FAILED when it cannot."""
    kind = os.path.basename(arguments[0])
    log = log_file(bundle)
    # Stdin, which ends when the gate is opened. With /dev/null the host's own device would be given to the container's uid.
    waiting, gate = os.pipe2(os.O_CLOEXEC)
    descriptors = [waiting, *pipes.writing]
    try:
        if _needs_preparation(kind):
            pid = os.fork()
            if pid == 0:
                _become_runtime(arguments, leaf.join_files, descriptors, log, root_uid)
        else:
            pid = spawn_in_groups([executable, *arguments[1:]], leaf.join_files, descriptors, log, _SEARCH_PATH)
    except OSError as error:
        os.close(gate)
        raise SandboxError("RUNTIME_FAILED", f"fork: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(waiting)
    pipes.close_writing()
    stdout, stderr, status, report = pipes.reading
    return RuntimeProcess(kind, pid, os.pidfd_open(pid), stdout, stderr, status, report, gate, bundle)


def _become_runtime(arguments: list[str], join_files: list[str], descriptors: list[int], log: Path, root_uid: int) -> None:
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        for file in join_files:
            with open(file, "wb", buffering=0) as join:
                join.write(b"0")
        _prepare(os.path.basename(arguments[0]), root_uid)
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        # Two steps: a source may sit on a number that is about to be overwritten.
        moved = [os.dup2(fd, 64 + index, inheritable=False) for index, fd in enumerate(descriptors)]
        for fd, target in zip(moved, (0, 1, 2, STATUS_FD, REPORT_FD), strict=False):
            os.dup2(fd, target)
        os.execve(arguments[0], arguments, {"PATH": _SEARCH_PATH})
    except BaseException as error:
        log.write_text(f"cannot start the runtime: {error}")
    finally:
        os._exit(127)


def _needs_preparation(kind: str) -> bool:
    # On v2 runc enters the group it is in already, and fails when it may not.
    return kind == "runsc" or kind == "runc" and not os.path.exists(_V2_MARK)


def _prepare(kind: str, root_uid: int) -> None:
    if kind == "runc":
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_read_only(_CGROUP_MOUNTS)
    if kind == "runsc":
        gvisor.enter_user_namespace(id_space().mappings(root_uid))
        # The kernel forgets it with each change of rights.
        syscalls.die_with_parent(signal.SIGKILL)
