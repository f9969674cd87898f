"""The uplink process: slirp4netns in the host's network, as a user of its own that holds no right and sees no file.

It parses what the job sends, so it is confined as a job is: a root folder with programs and libraries alone, an unmapped
uid without capabilities, no new privileges, slirp4netns's own filter of system calls, and the job's cgroup leaf, with which
it dies. What it may do is open sockets in the host's network.
"""

import os
import resource
import select
import shutil
import signal
import stat
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final, NamedTuple

from .. import syscalls
from ..errors import SandboxError
from .addresses import SUBNET, Reach
from .gate import close_gate, gate_program
from .interface import DEVICE, MTU, addresses_here, configure
from .namespaces import OwnedNetwork

# It and, until its device is made, a child of it.
UPLINK_PIDS: Final = 2
UPLINK_MEMORY_BYTES: Final = 16 << 20
_PROGRAM: Final = "slirp4netns"
_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_READY_SECONDS: Final = 10.0
_READY_FD, _EXIT_FD = 3, 4
_MAX_OPEN_FILES: Final = 1024
_MAX_SETTINGS_BYTES: Final = 4096
_TUN_NUMBER: Final = os.makedev(10, 200)
_READ_ONLY: Final = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV


class UplinkSite(NamedTuple):
    """Where an uplink process lives: the host's network, its uid, an empty folder to cover, and the files to join its groups."""

    host_network: int
    uid: int
    folder: Path
    join_files: Sequence[str]


def locate() -> str:
    """Return the program's path; OSError when it is not installed."""
    found = shutil.which(_PROGRAM, path=_SEARCH_PATH)
    if found is None:
        raise OSError(f"{_PROGRAM} is not installed")
    return found


class Uplink:
    """A running uplink process."""

    def __init__(self, pid: int, alive: int, output: int) -> None:
        self._pid = pid
        # It leaves when this end closes, however we end; its output is never read, so that it can fill no memory but a pipe's.
        self._held = [alive, output]

    @staticmethod
    def start(namespaces: OwnedNetwork, site: UplinkSite, allowed: Iterable[IPv4Network]) -> "Uplink":
        """Start it for the caller's network namespace, which must be the one given, and open the way; SandboxError RUNTIME_FAILED."""
        try:
            reach = Reach.beyond(_addresses_of(site.host_network, namespaces), allowed)
            program = locate()
            ready, ready_theirs = os.pipe2(os.O_CLOEXEC)
            exit_theirs, alive = os.pipe2(os.O_CLOEXEC)
            output, output_theirs = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                _become_uplink(program, namespaces, site, (output_theirs, ready_theirs, exit_theirs))
            for fd in (ready_theirs, exit_theirs, output_theirs):
                os.close(fd)
            uplink = Uplink(pid, alive, output)
            try:
                _await_ready(ready, output)
                _keep_gate(pid, gate_program(reach))
                configure(reach)
            except BaseException:
                uplink.end()
                raise
            finally:
                os.close(ready)
            return uplink
        except OSError as error:
            raise SandboxError("RUNTIME_FAILED", f"the uplink could not be started: {error}") from error

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.close()
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            # Somebody else has reaped it.
            return

    def close(self) -> None:
        """Let go of its descriptors, whereupon it leaves."""
        while self._held:
            os.close(self._held.pop())


def _addresses_of(host_network: int, namespaces: OwnedNetwork) -> list[IPv4Address]:
    syscalls.enter(host_network, syscalls.CLONE_NEWNET)
    try:
        return addresses_here()
    finally:
        syscalls.enter(namespaces.network, syscalls.CLONE_NEWNET)


def _await_ready(ready: int, output: int) -> None:
    poller = select.poll()
    poller.register(ready, select.POLLIN)
    if not poller.poll(_READY_SECONDS * 1000):
        raise OSError(f"{_PROGRAM} was not ready within {_READY_SECONDS:.0f} s")
    if os.read(ready, 1) != b"1":
        os.set_blocking(output, False)
        try:
            said = os.read(output, 4096).decode(errors="replace").strip()
        except BlockingIOError:
            said = ""
        raise OSError(f"{_PROGRAM} has ended: {said[-1000:] or 'it said nothing'}")


def _keep_gate(pid: int, program: bytes) -> None:
    """Put the filter on the device, by a copy of the descriptor that the uplink process reads frames from."""
    process = os.pidfd_open(pid)
    try:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            if not _is_device(Path(f"/proc/{pid}/fd/{number}")):
                continue
            tap = syscalls.take_descriptor(process, number)
            try:
                close_gate(tap, program)
                return
            finally:
                os.close(tap)
    finally:
        os.close(process)
    raise OSError(f"{_PROGRAM} has no device")


def _is_device(descriptor: Path) -> bool:
    try:
        found = descriptor.stat()
    except FileNotFoundError:
        # Closed in the meantime.
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _TUN_NUMBER


def _become_uplink(program: str, namespaces: OwnedNetwork, site: UplinkSite, channels: tuple[int, int, int]) -> None:
    output, ready, leave = channels
    try:
        for file in site.join_files:
            with open(file, "wb", buffering=0) as join:
                join.write(b"0")
        syscalls.enter(site.host_network, syscalls.CLONE_NEWNET)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        _build_root(site.folder, namespaces)
        os.chroot(site.folder)
        os.chdir("/")
        os.setsid()
        for name, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)):
            resource.setrlimit(name, (limit, limit))
        _arrange(output, ready, leave)
        os.setgroups([])
        os.setresgid(site.uid, site.uid, site.uid)
        os.setresuid(site.uid, site.uid, site.uid)
        # The kernel forgets it with each change of rights, so only now.
        syscalls.die_with_parent(signal.SIGKILL)
        syscalls.gain_no_privileges()
        os.execve(program, _command(), {"PATH": _SEARCH_PATH})
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(127)


def _command() -> list[str]:
    return [
        _PROGRAM,
        *("--netns-type=path", "--userns-path=/ns/user", f"--ready-fd={_READY_FD}", f"--exit-fd={_EXIT_FD}"),
        *("--disable-host-loopback", "--enable-seccomp", f"--cidr={SUBNET}", f"--mtu={MTU}"),
        *("/ns/net", DEVICE),
    ]


def _arrange(output: int, ready: int, leave: int) -> None:
    """Give the program five descriptors and no other."""
    sources = [os.open("/dev/null", os.O_RDONLY), output, output, ready, leave]
    # Two steps: a source may sit on a number that is about to be overwritten.
    moved = [os.dup2(fd, 64 + index, inheritable=False) for index, fd in enumerate(sources)]
    for target, fd in enumerate(moved):
        os.dup2(fd, target)
    os.closerange(len(sources), 1 << 16)


def _build_root(folder: Path, namespaces: OwnedNetwork) -> None:
    """Cover a folder with all that the program needs: its libraries, its device, the host's name servers, the namespaces."""
    settings = _name_server_settings()
    syscalls.mount("tmpfs", str(folder), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64")
    for name in ("usr", "etc", "dev", "dev/net", "ns"):
        (folder / name).mkdir(mode=0o755)
    _bind(Path("/usr"), folder / "usr")
    for name in ("lib", "lib32", "lib64", "libx32"):
        if (link := Path("/", name)).is_symlink():
            (folder / name).symlink_to(os.readlink(link))
        elif link.is_dir():
            (folder / name).mkdir(mode=0o755)
            _bind(link, folder / name)
    (folder / "etc/resolv.conf").write_bytes(settings)
    for name, number in (("dev/null", os.makedev(1, 3)), ("dev/net/tun", _TUN_NUMBER)):
        os.mknod(folder / name, stat.S_IFCHR | 0o666, number)
        # Whatever the umask is.
        os.chmod(folder / name, 0o666)
    for name, namespace in (("user", namespaces.user), ("net", namespaces.network)):
        (folder / "ns" / name).touch()
        syscalls.mount(f"/proc/self/fd/{namespace}", str(folder / "ns" / name), "", syscalls.MS_BIND)
    syscalls.mount("", str(folder), "", syscalls.MS_REMOUNT | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NOEXEC)


def _bind(source: Path, target: Path) -> None:
    syscalls.mount(str(source), str(target), "", syscalls.MS_BIND)
    syscalls.mount("", str(target), "", _READ_ONLY)


def _name_server_settings() -> bytes:
    try:
        with open("/etc/resolv.conf", "rb") as file:
            return file.read(_MAX_SETTINGS_BYTES)
    except OSError:
        return b""
