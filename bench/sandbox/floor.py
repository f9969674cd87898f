"""What bench/sandbox compares with, one command a line on standard input, one answer a line on standard output.

crun        one `crun run` of the bundle that sandboxd would make for /bin/true, its cgroup leaf and its compiled seccomp
            profile made beforehand: milliseconds from the spawn to the exit
fork        one fork into all namespaces of an interpreter with the environment's libraries imported (fork_floor.py):
            milliseconds to the child's first instruction
forks N C   such forks N times, C at once: seconds
savefig     the first savefig in such a fork: milliseconds
bare N C    `python3 -c pass` N times, C at once, in the environment's root file system and without a sandbox: seconds

The bundle is made by sandboxd's own code, so that both start the same thing.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "sandboxd"))

from ergon_sandboxd import syscalls  # noqa: E402
from ergon_sandboxd.bpf import compile_profile  # noqa: E402
from ergon_sandboxd.bundle import Bundle, install_shim  # noqa: E402
from ergon_sandboxd.cgroup import LeafLimits, detect_hierarchy, remove_leaf  # noqa: E402
from ergon_sandboxd.cgroup.detect import CgroupMounts  # noqa: E402
from ergon_sandboxd.denials import DenialCounter  # noqa: E402
from ergon_sandboxd.environment import find_rootfs, read_warm_imports  # noqa: E402
from ergon_sandboxd.framing import Frame  # noqa: E402
from ergon_sandboxd.ids import JOB_UID  # noqa: E402
from ergon_sandboxd.job_environment import fixed_variables, numeric_threads  # noqa: E402
from ergon_sandboxd.launch import spawn_in_groups  # noqa: E402
from ergon_sandboxd.messages import RunRequest, parse_request  # noqa: E402
from ergon_sandboxd.namespaces import run_inside  # noqa: E402
from ergon_sandboxd.network import enter_loopback_network  # noqa: E402
from ergon_sandboxd.oci_spec import build_spec  # noqa: E402
from ergon_sandboxd.runtime import RUNTIME_PIDS, find_runtime, max_open_files  # noqa: E402
from ergon_sandboxd.seccomp import job_profile  # noqa: E402
from ergon_sandboxd.workspace import Workspace  # noqa: E402

NAME: Final = f"bench-{os.getpid()}"
FIRST_UID: Final = 1 << 30
PYTHON: Final = "/usr/bin/python3"
MS_MOVE: Final = 8192
SEARCH_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


class Floor:
    """A bundle, its volumes and its leaf, made once."""

    def __init__(self, mounts: CgroupMounts, environments: Path, message: dict[str, Any]) -> None:
        request = parse_request(Frame(message, b""))
        assert isinstance(request, RunRequest)
        self.template: subprocess.Popen[str] | None = None
        self.variables = fixed_variables(numeric_threads(request.limits.cpu_percent))
        self.rootfs = find_rootfs(environments, request.environment)
        self.imports = read_warm_imports(environments, request.environment)
        self.state = Path("/run") / f"ergon-{NAME}"
        self.state.mkdir(mode=0o711)
        syscalls.mount("tmpfs", str(self.state), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0711,size=64m")
        install_shim(self.state / "shim")
        self.bundle = Bundle(self.state / "bundle", self.state / "shim")
        self.bundle.create()
        workspace = Workspace.make(request.limits, FIRST_UID + JOB_UID)
        self.denials = DenialCounter.listen(self.bundle.paths.listener)
        enter_loopback_network()
        self.bundle.attach_rootfs(self.rootfs)
        self.bundle.attach_volumes(workspace)
        self.bundle.write_spec(build_spec(request, self.bundle.paths, FIRST_UID, max_open_files(), compile_profile(job_profile())))
        self.hierarchy = detect_hierarchy(NAME, mounts)
        self.leaf = self.hierarchy.create("leaf")
        self.leaf.set_limits(LeafLimits(request.limits.memory_bytes, request.limits.pids + RUNTIME_PIDS["crun"]))
        folder = self.bundle.folder
        options = ["--cgroup-manager=disabled", f"--root={folder}/runtime", f"--log={folder}/log", "run", "--preserve-fds=2"]
        self.command = [find_runtime("crun"), *options, f"--bundle={folder}", "floor"]

    def crun(self) -> float:
        """Milliseconds of one run; RuntimeError when it did not work."""
        reading, writing = zip(*(os.pipe2(os.O_CLOEXEC) for _ in range(4)), strict=True)
        for fd in writing[:2]:
            os.fchmod(fd, 0o622)
        # Nothing is taken back before the job, so its gate is open.
        open_gate, gate = os.pipe2(os.O_CLOEXEC)
        os.close(gate)
        began = time.perf_counter()
        pid = spawn_in_groups(self.command, self.leaf.join_files, [open_gate, *writing], self.bundle.folder / "log", SEARCH_PATH)
        status = os.waitpid(pid, 0)[1]
        milliseconds = (time.perf_counter() - began) * 1e3
        # The descriptor for denied calls waits in the socket; nobody would take it from there.
        self.denials.advance(0)
        self.denials.close()
        self.bundle.paths.listener.unlink()
        self.denials = DenialCounter.listen(self.bundle.paths.listener)
        for fd in (open_gate, *writing):
            os.close(fd)
        said = b"".join(os.read(fd, 4096) for fd in reading[2:3])
        for fd in reading:
            os.close(fd)
        if status != 0 or b"exit 0" not in said:
            raise RuntimeError(f"crun ended with {status}: {(self.bundle.folder / 'log').read_text()}")
        return milliseconds

    def bare(self, runs: int, at_once: int) -> float:
        """Seconds for so many interpreters that do nothing."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.chroot(self.rootfs)
            os.chdir("/")
            os.write(writing, json.dumps(self._spawn_all(runs, at_once)).encode())
            os._exit(0)
        os.close(writing)
        seconds = json.loads(os.read(reading, 100))
        os.close(reading)
        os.waitpid(child, 0)
        return float(seconds)

    def _spawn_all(self, runs: int, at_once: int) -> float:
        began, started, running = time.perf_counter(), 0, 0
        while started < runs or running:
            while started < runs and running < at_once:
                os.posix_spawn(PYTHON, [PYTHON, "-c", "pass"], self.variables)
                started, running = started + 1, running + 1
            if os.wait()[1] != 0:
                raise RuntimeError("python3 -c pass failed")
            running -= 1
        return time.perf_counter() - began

    def fork(self) -> float:
        """Milliseconds of one bare fork into all namespaces."""
        return self._ask_template("once")

    def forks(self, runs: int, at_once: int) -> float:
        """Seconds for so many bare forks into all namespaces."""
        return self._ask_template(f"many {runs} {at_once}")

    def savefig(self) -> float:
        """Milliseconds of the first savefig in a bare fork."""
        return self._ask_template("savefig")

    def _ask_template(self, command: str) -> float:
        if self.template is None:
            source = Path(__file__).with_name("fork_floor.py").read_text()
            command_line = [PYTHON, "-s", "-B", "-c", source, *self.imports]
            self.template = subprocess.Popen(
                command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.variables, preexec_fn=self._make_rootfs_the_root,
            )
            self._answer(self.template)
        assert self.template.stdin is not None
        print(command, file=self.template.stdin, flush=True)
        return float(self._answer(self.template))

    def _make_rootfs_the_root(self) -> None:
        # A chroot alone would do for files, but the kernel lets nobody make a user namespace from inside one.
        syscalls.unshare(syscalls.CLONE_NEWNS)
        os.chdir(self.bundle.paths.rootfs)
        syscalls.mount(".", "/", "", MS_MOVE)
        os.chroot(".")
        syscalls.mount("tmpfs", "/tmp", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV)

    @staticmethod
    def _answer(template: "subprocess.Popen[str]") -> Any:
        assert template.stdout is not None
        return json.loads(template.stdout.readline())

    def close(self) -> None:
        """Remove what is not gone with the namespaces."""
        if self.template is not None:
            self.template.communicate(timeout=10)
        remove_leaf(self.leaf, 1)
        self.hierarchy.remove()
        syscalls.unmount(str(self.state))
        shutil.rmtree(self.state)


def serve(mounts: CgroupMounts) -> int:
    """Answer until standard input ends."""
    floor = Floor(mounts, Path(sys.argv[1]), json.loads(sys.argv[2]))
    try:
        for line in sys.stdin:
            name, *numbers = line.split()
            print(json.dumps(getattr(floor, name)(*map(int, numbers))), flush=True)
    finally:
        floor.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_inside(serve))
