"""A sandbox's writable file systems: detached tmpfs mounts held by descriptor, so they outlive its processes."""

import errno
import os
from typing import Final, NamedTuple

from . import syscalls
from .errors import SandboxError
from .limits import Limits

_PAGE: Final = 4096
# Each input costs an inode and up to a page beyond its bytes.
_MAX_INPUT_FILES: Final = 1024


class Usage(NamedTuple):
    """What a file system holds now."""

    size_bytes: int
    files: int


class Volume:
    """One tmpfs; its pages are charged to whoever writes them first: the job's to its leaf, inputs to sandboxd."""

    def __init__(self, size_bytes: int, files: int, uid: int, mode: str, attributes: int = 0) -> None:
        options = {"size": str(max(size_bytes, _PAGE)), "nr_inodes": str(files), "uid": str(uid), "gid": str(uid), "mode": mode}
        self._fd: int | None = syscalls.detached_tmpfs(options, attributes)
        self._own_files = 0

    @property
    def fd(self) -> int:
        """The descriptor of the root folder; OSError EBADF after close."""
        if self._fd is None:
            raise OSError(errno.EBADF, "volume is closed")
        return self._fd

    def add_folder(self, name: str, uid: int) -> None:
        """Make a folder in the root, owned by a host uid."""
        os.mkdir(name, 0o755, dir_fd=self.fd)
        os.chown(name, uid, uid, dir_fd=self.fd)

    def seal_baseline(self) -> None:
        """Count what exists now as ours, not as the job's."""
        self._own_files = self._raw_files()

    def _raw_files(self) -> int:
        found = os.fstatvfs(self.fd)
        return found.f_files - found.f_ffree

    def usage(self) -> Usage:
        """Return what the job has put here."""
        found = os.fstatvfs(self.fd)
        return Usage((found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree - self._own_files)

    def attach(self, path: str) -> None:
        """Make it visible at a path of this process's mount namespace."""
        syscalls.attach(self.fd, path)

    def close(self) -> None:
        """Let go of it; the kernel frees it when no mount holds it any more."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Workspace:
    """The four volumes of one sandbox."""

    def __init__(self, limits: Limits, job_host_uid: int) -> None:
        own = 4  # root, output, code, input
        slack = (_MAX_INPUT_FILES + 16) * _PAGE
        try:
            self.inputs = Volume(limits.input_bytes + slack, _MAX_INPUT_FILES + 16, 0, "0755")
            self.files = Volume(limits.disk_bytes, limits.disk_files + own, job_host_uid, "0755")
            self.tmp = Volume(limits.disk_bytes, limits.disk_files + 1, job_host_uid, "1777")
            self.shm = Volume(limits.disk_bytes, limits.disk_files + 1, job_host_uid, "1777", syscalls.MOUNT_ATTR_NOEXEC)
            for name in ("code", "input"):
                self.inputs.add_folder(name, 0)
                self.files.add_folder(name, 0)
            self.files.add_folder("output", job_host_uid)
        except OSError as error:
            raise as_disk_error(error) from error
        for volume in self.job_volumes:
            volume.seal_baseline()

    @property
    def job_volumes(self) -> tuple[Volume, ...]:
        """What the job can write to."""
        return (self.files, self.tmp, self.shm)

    def close(self) -> None:
        """Free everything."""
        for volume in (self.inputs, *self.job_volumes):
            volume.close()


def as_disk_error(error: OSError) -> SandboxError:
    """Translate a failed write of ours: no room is DISK_FULL, anything else a fault of this host."""
    if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
        return SandboxError("DISK_FULL", "the host has no memory left for the sandbox's files")
    return SandboxError("INTERNAL", f"cannot prepare the sandbox's files: {os.strerror(error.errno or 0)}")
