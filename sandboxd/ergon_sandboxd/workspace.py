"""A sandbox's writable file systems: detached tmpfs mounts held by descriptor, so they outlive its processes."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from . import syscalls
from .errors import SandboxError
from .limits import Limits

_PAGE: Final = 4096
# Each input costs an inode and up to a page beyond its bytes.
_MAX_INPUT_FILES: Final = 1024
# Root, output, code, input.
_OWN_FILES: Final = 4


class Usage(NamedTuple):
    """What a file system holds now."""

    size_bytes: int
    files: int


class Room(NamedTuple):
    """How much a volume may hold."""

    size_bytes: int
    files: int

    @property
    def options(self) -> dict[str, str]:
        """As tmpfs wants it."""
        return {"size": str(max(self.size_bytes, _PAGE)), "nr_inodes": str(self.files)}


_LITTLE_ROOM: Final = Room(16 * _PAGE, 16)


class Volume:
    """One tmpfs; its pages are charged to whoever writes them first: the job's to its leaf, inputs to sandboxd."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._own_files = 1

    @staticmethod
    def make(room: Room, uid: int, mode: str, attributes: int = 0) -> "Volume":
        """Make an empty one that belongs to a host uid."""
        return Volume(syscalls.detached_tmpfs({**room.options, "uid": str(uid), "gid": str(uid), "mode": mode}, attributes))

    def resize(self, room: Room) -> None:
        """Allow another amount, which what is in it already counts against."""
        syscalls.resize_tmpfs(self.fd, room.options)

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

    def expect(self, files: int) -> None:
        """Count so many files as ours, the root folder included, not as the job's."""
        self._own_files = files

    def usage(self) -> Usage:
        """Return what the job has put here."""
        found = os.fstatvfs(self.fd)
        return Usage((found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree - self._own_files)

    def attach(self, path: str) -> None:
        """Make it visible at a path of this process's mount namespace."""
        syscalls.attach(self.fd, path)

    def release(self) -> int:
        """Give the descriptor to a new owner."""
        released = self.fd
        self._fd = None
        return released

    def close(self) -> None:
        """Let go of it; the kernel frees it when no mount holds it any more."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _rooms(limits: Limits) -> tuple[Room, Room, Room, Room]:
    slack = (_MAX_INPUT_FILES + 16) * _PAGE
    scratch = Room(limits.disk_bytes, limits.disk_files + 1)
    return (
        Room(limits.disk_bytes, limits.disk_files + _OWN_FILES),
        Room(limits.input_bytes + slack, _MAX_INPUT_FILES + 16),
        scratch,
        scratch,
    )


class Workspace:
    """The four volumes of one sandbox."""

    def __init__(self, files: Volume, inputs: Volume, tmp: Volume, shm: Volume) -> None:
        self.files, self.inputs, self.tmp, self.shm = files, inputs, tmp, shm
        files.expect(_OWN_FILES)

    @staticmethod
    def make(limits: Limits, job_host_uid: int) -> "Workspace":
        """Make them as a job wants them; SandboxError when the host has no room."""
        return Workspace._make(_rooms(limits), job_host_uid)

    @staticmethod
    def make_ahead(job_host_uid: int) -> "Workspace":
        """Make them before the job is known: `adopt` gives them their sizes."""
        return Workspace._make((_LITTLE_ROOM,) * 4, job_host_uid)

    @staticmethod
    def _make(rooms: "tuple[Room, Room, Room, Room]", job_host_uid: int) -> "Workspace":
        owners, modes, attributes = (job_host_uid, 0, job_host_uid, job_host_uid), ("0755", "0755", "1777", "1777"), (0, 0, 0, syscalls.MOUNT_ATTR_NOEXEC)
        with _closed_on_failure() as volumes:
            for kind in zip(rooms, owners, modes, attributes, strict=True):
                volumes.append(Volume.make(*kind))
            files, inputs, tmp, shm = volumes
            for name in ("code", "input"):
                inputs.add_folder(name, 0)
                files.add_folder(name, 0)
            files.add_folder("output", job_host_uid)
        return Workspace(files, inputs, tmp, shm)

    @staticmethod
    def adopt(descriptors: tuple[int, int, int, int], limits: Limits) -> "Workspace":
        """Take over what was made ahead, and give it the sizes of a job; SandboxError when the host has no room."""
        with _closed_on_failure() as volumes:
            volumes += [Volume(fd) for fd in descriptors]
            for volume, room in zip(volumes, _rooms(limits), strict=True):
                volume.resize(room)
            return Workspace(*volumes)

    @property
    def descriptors(self) -> tuple[int, int, int, int]:
        """Of files, inputs, tmp and shm."""
        return (self.files.fd, self.inputs.fd, self.tmp.fd, self.shm.fd)

    def release(self) -> tuple[int, int, int, int]:
        """Give the descriptors to a new owner."""
        return (self.files.release(), self.inputs.release(), self.tmp.release(), self.shm.release())

    @property
    def job_volumes(self) -> tuple[Volume, ...]:
        """What the job can write to."""
        return (self.files, self.tmp, self.shm)

    def close(self) -> None:
        """Free everything."""
        for volume in (self.inputs, *self.job_volumes):
            volume.close()


@contextmanager
def _closed_on_failure() -> Iterator[list[Volume]]:
    volumes: list[Volume] = []
    try:
        yield volumes
    except OSError as error:
        for volume in volumes:
            volume.close()
        raise as_disk_error(error) from error


def as_disk_error(error: OSError) -> SandboxError:
    """Translate a failed write of ours: no room is DISK_FULL, anything else a fault of this host."""
    if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
        return SandboxError("DISK_FULL", "the host has no memory left for the sandbox's files")
    return SandboxError("INTERNAL", f"cannot prepare the sandbox's files: {os.strerror(error.errno or 0)}")
