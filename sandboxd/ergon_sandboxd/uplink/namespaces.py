"""A network namespace whose owner is an unprivileged user, who so may make a device in it, and holds no right elsewhere."""

import os
from pathlib import Path
from typing import NamedTuple

from .. import syscalls


class OwnedNetwork(NamedTuple):
    """Descriptors of a network namespace and of the user namespace that it belongs to."""

    user: int
    network: int

    def close(self) -> None:
        """Let go of both."""
        os.close(self.user)
        os.close(self.network)


def make_owned_network(owner: int) -> OwnedNetwork:
    """Make both for the uid `owner`; OSError when the kernel refuses that user namespaces."""
    told_reading, told_writing = os.pipe2(os.O_CLOEXEC)
    done_reading, done_writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(told_reading)
            os.close(done_writing)
            _make(owner, told_writing, done_reading)
        finally:
            os._exit(0)
    os.close(told_writing)
    os.close(done_reading)
    try:
        answer = os.read(told_reading, 4096)
        if answer != b"made":
            raise OSError(answer.decode(errors="replace") or "the process that makes the namespace died")
        # root inside is the owner; nobody else is there.
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text(f"0 {owner} 1")
        folder = f"/proc/{child}/ns"
        user = os.open(f"{folder}/user", os.O_RDONLY | os.O_CLOEXEC)
        return OwnedNetwork(user, os.open(f"{folder}/net", os.O_RDONLY | os.O_CLOEXEC))
    finally:
        os.close(told_reading)
        os.close(done_writing)
        os.waitpid(child, 0)


def _make(owner: int, told: int, done: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    except OSError as error:
        os.write(told, str(error).encode())
        return
    os.write(told, b"made")
    # Until the other side has its descriptors.
    os.read(done, 1)
