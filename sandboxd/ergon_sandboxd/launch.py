"""Starting a program inside cgroups without forking this process.

A fork copies the page tables of an interpreter, and then page by page whatever parent and child touch: 5 million
instructions, against 2 for a shell that joins the groups and becomes the program.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SHELL: Final = "/bin/sh"
# Groups up to "--", then the program. What goes wrong on the way is for the log, which stands in for standard error.
_JOIN_AND_BECOME: Final = """
while [ "$1" != -- ]; do echo 0 > "$1" || exit 127; shift; done
shift
[ -x "$1" ] || { echo "$1 cannot be executed" >&2; exit 127; }
exec "$@" 2>&5 5>&-
"""
_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)


def spawn_in_groups(arguments: list[str], join_files: list[str], descriptors: Sequence[int], log: Path, path: str) -> int:
    """Return the pid of a new session that has `descriptors`, standard ones first; OSError when it cannot start."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        gate, output, error, *others = descriptors
        sources = [gate, output, file, *others, error]
        command = [_SHELL, "-c", _JOIN_AND_BECOME, "sh", *join_files, "--", *arguments]
        return os.posix_spawn(_SHELL, command, {"PATH": path}, file_actions=_moves(sources), setsid=True, setsigdef=_DEFAULT_SIGNALS)
    finally:
        os.close(file)


def _moves(sources: Sequence[int]) -> list[tuple[int, ...]]:
    """Put the n-th source on the number n, in two steps: a source may sit on a number that is about to be overwritten."""
    free = max(len(sources), *sources) + 1
    return [
        *((os.POSIX_SPAWN_DUP2, fd, free + number) for number, fd in enumerate(sources)),
        *((os.POSIX_SPAWN_DUP2, free + number, number) for number in range(len(sources))),
        *((os.POSIX_SPAWN_CLOSE, free + number) for number in range(len(sources))),
    ]
