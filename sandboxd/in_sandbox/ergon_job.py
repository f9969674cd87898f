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


class Entry:
    """What a job runs: variables NAME=value, `python FILE` or `exec FOLDER ARGV…`, and the seed of its random numbers."""

    def __init__(self, variables: list[str], command: list[str], seed: str | None) -> None:
        self.variables = variables
        self.command = command
        self.seed = seed

    @staticmethod
    def parse(arguments: list[str]) -> "Entry":
        """Read init's arguments: the seed or "-", the count of variables, the variables, the command."""
        count = int(arguments[1])
        seed = None if arguments[0] == "-" else arguments[0]
        return Entry(arguments[2 : 2 + count], arguments[2 + count :], seed)


def become_job(entry: Entry, report_fd: int) -> "NoReturn":
    """Turn init's child into the job; never returns."""
    leave_init()
    os.closerange(report_fd + 1, 1 << 16)
    run_entry(entry, report_fd, [])


def leave_init() -> None:
    """Give up what init had."""
    # While still permitted: the kernel is to prefer the job over init when memory runs out.
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    os.setsid()
    os.setresgid(JOB_UID, JOB_UID, JOB_UID)
    os.setresuid(JOB_UID, JOB_UID, JOB_UID)
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)


def run_entry(entry: Entry, report_fd: int, inherited_generators: list[object]) -> "NoReturn":
    """Run the entry in this process."""
    for variable in entry.variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    prepare_matplotlib()
    # Python ignores it, so a file that grows too large would look like an ordinary error.
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    if entry.command[0] == "exec":
        _execute(entry.command[1], entry.command[2:], report_fd)
    os.set_inheritable(report_fd, False)
    if entry.seed is not None or inherited_generators:
        from ergon_seed import seed_job

        seed_job(entry.seed, inherited_generators)
    from ergon_python import run_file

    run_file(entry.command[1], report_fd)


def _execute(folder: str, argv: list[str], report_fd: int) -> "NoReturn":
    os.close(report_fd)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    place = folder
    try:
        os.chdir(folder)
        place = argv[0]
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{place}: {error.strerror}\n")
        sys.stderr.flush()
        # What shells answer: 127 for a program that is not there, 126 for one that cannot be run.
        os._exit(127 if isinstance(error, FileNotFoundError) and place != folder else 126)


def prepare_matplotlib() -> None:
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
