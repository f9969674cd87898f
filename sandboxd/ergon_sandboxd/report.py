"""Reading the language shim's report: written by the job's process, therefore bounded, checked and never trusted."""

import json
from typing import Any, Final

from .framing import parse_object

MAX_REPORT_BYTES: Final = 32_768
_TEXT: Final = ("kind", "type", "message", "traceback")
_NUMBERS: Final = ("line", "column")


def parse_report(data: bytes) -> dict[str, Any] | None:
    """Return the known keys of a well-formed report, or None."""
    if not data or len(data) > MAX_REPORT_BYTES:
        return None
    try:
        value = parse_object(data)
    except ValueError:
        return None
    report: dict[str, Any] = {name: value[name] for name in _TEXT if isinstance(value.get(name), str)}
    for name in _NUMBERS:
        number = value.get(name)
        report[name] = number if type(number) is int and 0 <= number < 1 << 31 else None
    if not all(name in report for name in _TEXT):
        return None
    # Escaping can grow text sixfold, and the evidence has to fit into one line of the protocol.
    return report if len(json.dumps(report)) <= MAX_REPORT_BYTES else None
