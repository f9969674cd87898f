"""Runs one Python file as CPython would run it as a script, and reports how it failed."""

import builtins
import io
import os
import sys

import ergon_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import NoReturn


def run_file(path: str, report_fd: int) -> "NoReturn":
    """Run the file as __main__ and end the process with the exit status CPython would give."""
    shim_folder = os.path.dirname(os.path.abspath(__file__))
    main = type(sys)("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    # A real module: pickle and multiprocessing look names up in it.
    shim_main = sys.modules["__main__"]
    sys.modules["__main__"] = main
    sys.argv = [path]
    sys.path = [os.path.dirname(path), *(entry for entry in sys.path if entry != shim_folder)]
    prepare_streams()
    job = os.getpid()
    code = _run(path, main, report_fd, job, shim_folder)
    code = _finish(code)
    del shim_main
    # Finalising the interpreter takes 13 ms and changes nothing that outlives the process.
    os._exit(code)


def prepare_streams() -> None:
    """Let lines out at once: a pipe is block-buffered by default, and nothing would be seen of a job that runs, or that was killed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.line_buffering:
            stream.reconfigure(line_buffering=True)


def _run(path: str, main: "types.ModuleType", report_fd: int, job: int, shim_folder: str) -> int:
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)
        return 0
    except SystemExit as error:
        code = _exit_code(error)
        if code != 0 and os.getpid() == job:
            ergon_report.send(report_fd, "system_exit", error, path)
        return code
    except BaseException as error:
        error.__traceback__ = ergon_report.without_shim(error.__traceback__, shim_folder)
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except BaseException:
            sys.__excepthook__(type(error), error, error.__traceback__)
        # A child that the job forked ends here too; only the job itself reports.
        if os.getpid() == job:
            ergon_report.send(report_fd, "exception", error, path)
        return 1


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _finish(code: int) -> int:
    import atexit

    try:
        # As CPython does: a job that never imported threading has no threads to wait for.
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        # What CPython does when the last flush fails.
        return code or 120
    return code
