"""The report of an uncaught exception: one bounded JSON object on a pipe of its own."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

_MAX_MESSAGE = 2000
_MAX_TRACEBACK = 12000
_MAX_BYTES = 32768


def without_shim(trace: "types.TracebackType | None", shim_folder: str) -> "types.TracebackType | None":
    """Drop the leading frames that belong to the shim."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(shim_folder):
        trace = trace.tb_next
    return trace


def send(report_fd: int, kind: str, error: BaseException, main_path: str) -> None:
    """Write the report; a failure to describe the failure is not one of the job."""
    try:
        import json

        line, column = _position(error, os.path.dirname(main_path) + "/")
        report: dict[str, str | int | None] = {"kind": kind, "type": _type_name(error), "message": _text(error)}
        report.update(line=line, column=column, traceback=_traceback(error))
        data = json.dumps(report).encode()
        if len(data) > _MAX_BYTES:
            report["traceback"] = ""
            data = json.dumps(report).encode()
        os.write(report_fd, data[:_MAX_BYTES])
    except BaseException:
        return


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return (kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}")[:200]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_MAX_MESSAGE]
    except BaseException:
        return "<no text>"


def _traceback(error: BaseException) -> str:
    import traceback

    text = "".join(traceback.format_exception(error))
    # The end says what happened, so the end is what is kept.
    return text if len(text) <= _MAX_TRACEBACK else "…" + text[-_MAX_TRACEBACK:]


def _position(error: BaseException, user_folder: str) -> tuple[int | None, int | None]:
    """Return line and column, from 1, of the innermost frame in the user's files."""
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(user_folder):
        return error.lineno, error.offset
    found: tuple[int | None, int | None] = (None, None)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(user_folder):
            column = list(code.co_positions())[trace.tb_lasti // 2][2]
            found = (trace.tb_lineno, None if column is None else column + 1)
        trace = trace.tb_next
    return found
