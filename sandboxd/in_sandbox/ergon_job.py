"""From init's forked child to the job: give up what init had, then run the entry."""

# typing and signal drag in re and enum: 15 ms of every job's start; even __future__ is a file to load, hence the quoted
# annotations. _signal is the built-in below signal.
import _signal  # type: ignore[import]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

JOB_UID = 1000
_FONT_CACHE = "/usr/share/ergon/matplotlib"


def become_job(arguments: list[str], report_fd: int) -> "NoReturn":
    """Turn this process into the job; never returns."""
    count = int(arguments[0])
    variables, entry = arguments[1 : 1 + count], arguments[1 + count :]
    # While still permitted: the kernel is to prefer the job over init when memory runs out.
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    os.setsid()
    os.setresgid(JOB_UID, JOB_UID, JOB_UID)
    os.setresuid(JOB_UID, JOB_UID, JOB_UID)
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(report_fd + 1, 1 << 16)
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    _prepare_matplotlib()
    # Python ignores it, so a file that grows too large would look like an ordinary error.
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    if entry[0] == "exec":
        _execute(entry[1:], report_fd)
    os.set_inheritable(report_fd, False)
    from ergon_python import run_file

    run_file(entry[1], report_fd)


def _execute(argv: list[str], report_fd: int) -> "NoReturn":
    os.close(report_fd)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        # What shells answer: 127 for a program that is not there, 126 for one that cannot be run.
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _prepare_matplotlib() -> None:
    """Link the environment's font cache into the job's configuration folder: building it costs a second and warns."""
    try:
        names = os.listdir(_FONT_CACHE)
    except OSError:
        return
    folder = os.environ.get("MPLCONFIGDIR", "/tmp/matplotlib")
    try:
        os.mkdir(folder)
        for name in names:
            os.symlink(f"{_FONT_CACHE}/{name}", f"{folder}/{name}")
        if "matplotlibrc" not in names:
            # Without a fixed salt every SVG differs.
            with open(f"{folder}/matplotlibrc", "w") as settings:
                settings.write("svg.hashsalt: ergon\n")
    except OSError:
        return
