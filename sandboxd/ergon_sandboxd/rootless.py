"""Started by an ordinary user: becoming root of a user namespace that has this user's subordinate ids.

What root's sandboxd may do by itself, this one may do in its own namespaces: mount, map ids, make networks. What stays
the host's is not reachable: cgroups must be delegated (see cgroup/detect.py), and only this user's uids are there.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from . import syscalls

_SEARCH_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


class IdRange(NamedTuple):
    """`size` ids from `first` on."""

    first: int
    size: int


def subordinate_range(text: str, names: tuple[str, ...]) -> IdRange | None:
    """Return the largest range that a text such as /etc/subuid gives to a user, by name or number; None without one."""
    found = []
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) == 3 and words[0] in names and words[1].isdigit() and words[2].isdigit():
            found.append(IdRange(int(words[1]), int(words[2])))
    return max(found, key=lambda entry: entry.size) if found else None


def enter_user_namespace() -> None:
    """Make the caller uid 0 of a new user namespace, with its user's subordinate ids from 1 on; OSError says what is missing."""
    uid, gid = os.getuid(), os.getgid()
    uids, gids = _range_of(uid, "/etc/subuid"), _range_of(uid, "/etc/subgid")
    # Equal numbers for users and groups: a sandbox's files belong to the same id of both.
    count = min(uids.size, gids.size)
    commands = [
        [_find("newuidmap"), str(os.getpid()), "0", str(uid), "1", "1", str(uids.first), str(count)],
        [_find("newgidmap"), str(os.getpid()), "0", str(gid), "1", "1", str(gids.first), str(count)],
    ]
    _enter_with(commands)
    os.setgroups([])


def _range_of(uid: int, file: str) -> IdRange:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    try:
        text = Path(file).read_text()
    except FileNotFoundError:
        text = ""
    found = subordinate_range(text, (name, str(uid)))
    if found is None:
        raise OSError(f"{file} gives the user {name} no subordinate ids")
    return found


def _find(program: str) -> str:
    path = shutil.which(program, path=_SEARCH_PATH)
    if path is None:
        raise OSError(f"{program} is not installed (Debian's package uidmap)")
    return path


def _enter_with(commands: list[list[str]]) -> None:
    """Unshare while a child that stays outside waits to write the maps: from inside nobody may."""
    entered_reading, entered_writing = os.pipe2(os.O_CLOEXEC)
    failure_reading, failure_writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(entered_writing)
        try:
            _write_maps(commands, entered_reading, failure_writing)
        finally:
            os._exit(0)
    os.close(entered_reading)
    os.close(failure_writing)
    with open(failure_reading, "rb") as failures:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os.write(entered_writing, b"1")
        finally:
            # Without the byte the child ends without a word.
            os.close(entered_writing)
            failure = failures.read()
            os.waitpid(child, 0)
    if failure:
        raise OSError(failure.decode(errors="replace"))


def _write_maps(commands: list[list[str]], entered: int, failure: int) -> None:
    if not os.read(entered, 1):
        return
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            os.write(failure, f"{command[0]}: {done.stderr.strip() or f'exit status {done.returncode}'}".encode()[:2000])
            return
