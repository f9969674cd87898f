"""Messages for the operator, on stderr."""

import sys


def log(message: str) -> None:
    """Print one line; a reader that is gone must not end the process that serves everybody else."""
    try:
        print(f"sandboxd: {message}", file=sys.stderr, flush=True)
    except OSError:
        return
