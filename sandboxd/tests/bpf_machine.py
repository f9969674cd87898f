"""What tests need to know of a filter without loading it: a machine for its program, and what the profile's text says."""

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

KILL, ALLOW, NOTIFY = 0x00000000, 0x7FFF0000, 0x7FC00000
AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
_DATA: Final = struct.Struct("=iIQ6Q")
_ACTIONS: Final = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_NOTIFY": NOTIFY, "SCMP_ACT_ERRNO": 0x00050000}
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_BRANCHES: Final[dict[int, Callable[[int, int], bool]]] = {
    0x15: lambda a, b: a == b,
    0x25: lambda a, b: a > b,
    0x35: lambda a, b: a >= b,
    0x45: lambda a, b: bool(a & b),
}
_ALL_BITS: Final = (1 << 64) - 1


class Program:
    """A decoded program; the subset of classic BPF that seccomp accepts and libseccomp writes."""

    def __init__(self, code: bytes) -> None:
        self.instructions = list(struct.iter_unpack("=HBBI", code))

    def run(self, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
        """Return the action for one call."""
        data = _DATA.pack(number, architecture, 0, *arguments)
        accumulator, at = 0, 0
        while True:
            code, if_true, if_false, k = self.instructions[at]
            at += 1
            if code == _RETURN:
                return int(k)
            if code == _LOAD:
                (accumulator,) = struct.unpack_from("=I", data, k)
            elif code == _AND:
                accumulator &= k
            elif code == _JUMP:
                at += k
            else:
                at += if_true if _BRANCHES[code](accumulator, k) else if_false


def _matches(condition: dict[str, Any], value: int) -> bool:
    a, b = int(condition["value"]), int(condition.get("valueTwo", 0))
    verdicts = {"SCMP_CMP_EQ": value == a, "SCMP_CMP_NE": value != a, "SCMP_CMP_GT": value > a, "SCMP_CMP_LE": value <= a, "SCMP_CMP_MASKED_EQ": value & a == b}
    return verdicts[condition["op"]]


def meaning(profile: dict[str, Any], name: str, arguments: tuple[int, ...]) -> int:
    """Return the action that the text of a profile means for one call; at most one rule may apply."""
    rules = [rule for rule in profile["syscalls"] if name in rule["names"] and all(_matches(c, arguments[c["index"]]) for c in rule.get("args", []))]
    assert len({rule["action"] for rule in rules}) <= 1, (name, arguments)
    if not rules:
        return _ACTIONS["SCMP_ACT_ERRNO"] | int(profile["defaultErrnoRet"])
    return _ACTIONS[rules[0]["action"]] | int(rules[0].get("errnoRet", 0))


def interesting_arguments(profile: dict[str, Any], name: str) -> Iterator[tuple[int, ...]]:
    """Every combination of values at and around those that a rule for this call compares with."""
    values: list[set[int]] = [{0, _ALL_BITS} for _ in range(6)]
    for rule in profile["syscalls"]:
        if name in rule["names"]:
            for condition in rule.get("args", []):
                for value in (condition["value"], condition.get("valueTwo", 0)):
                    around = {value, value - 1, value + 1, value | 1 << 32, value | 1 << 11, value << 1}
                    values[condition["index"]] |= {each & _ALL_BITS for each in around}
    compared = [len(each) > 2 for each in values]
    axes = [sorted(each) if used else [0] for each, used in zip(values, compared, strict=True)]
    yield (_ALL_BITS,) * 6
    yield from itertools.product(*axes)
