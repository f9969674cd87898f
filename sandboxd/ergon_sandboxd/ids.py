"""Which uids and gids sandboxes get: what the user namespace of sandboxd offers, no two running sandboxes the same.

Root of the host has the whole id space: each sandbox gets a range of its own. An ordinary user, or root inside a
container, has what /etc/subuid or the container's map gives: each sandbox gets the two ids that are used, root's and the job's.
"""

import functools
from pathlib import Path
from typing import Final, NamedTuple

JOB_UID: Final = 1000
UIDS_PER_SANDBOX: Final = 65_536
SLOTS_PER_INSTANCE: Final = 64
_INSTANCES: Final = 256
_FIRST_HOST_UID: Final = 1 << 30
TEMPLATES_PER_INSTANCE: Final = 32
_FIRST_TEMPLATE_UID: Final = 1 << 29
_SANDBOXES: Final = _INSTANCES * SLOTS_PER_INSTANCE
# JOB_UID sandboxes take twice as many ids: the roots' in one half, the jobs', JOB_UID further, in the other.
_BLOCK: Final = 2 * JOB_UID


# Above the ranges of sandboxes, so that no sandbox's user namespace has one.
_FIRST_UPLINK_UID: Final = 1 << 31


class IdMapping(NamedTuple):
    """`size` ids of a sandbox from `inside` on are those from `outside` on in sandboxd's user namespace."""

    inside: int
    outside: int
    size: int


class IdSpace(NamedTuple):
    """The ids that sandboxes may use, as sandboxd's user namespace names them."""

    first: int
    size: int

    @property
    def is_whole(self) -> bool:
        """True when every sandbox can have a full range."""
        return self.size >= _SANDBOXES * UIDS_PER_SANDBOX

    def root_of(self, instance: str, slot: int) -> int:
        """Return the id of a sandbox's root; the job's is JOB_UID higher."""
        number = int(instance[:2], 16) * SLOTS_PER_INSTANCE + slot
        if self.is_whole:
            return self.first + number * UIDS_PER_SANDBOX
        block, place = divmod(number % (self.size // _BLOCK * JOB_UID), JOB_UID)
        return self.first + block * _BLOCK + place

    def mappings(self, root: int) -> list[IdMapping]:
        """Return the id map of the sandbox whose root is `root`."""
        if self.is_whole:
            return [IdMapping(0, root, UIDS_PER_SANDBOX)]
        return [IdMapping(0, root, 1), IdMapping(JOB_UID, root + JOB_UID, 1)]


def parse_id_map(text: str) -> list[tuple[int, int]]:
    """Return the (first, count) ranges of a /proc/<pid>/uid_map that exist in that namespace."""
    return [(int(first), int(count)) for first, _, count in map(str.split, text.splitlines())]


def choose_id_space(uid_map: str, gid_map: str) -> IdSpace:
    """Return the ids that both maps offer to sandboxes; OSError when there are too few."""
    offered = [
        (max(uid, gid, 1), min(uid + uids, gid + gids)) for uid, uids in parse_id_map(uid_map) for gid, gids in parse_id_map(gid_map)
    ]
    end = _FIRST_HOST_UID + _SANDBOXES * UIDS_PER_SANDBOX
    if any(start <= _FIRST_HOST_UID and end <= stop for start, stop in offered):
        return IdSpace(_FIRST_HOST_UID, end - _FIRST_HOST_UID)
    first, stop = max(offered, key=lambda span: span[1] - span[0], default=(0, 0))
    if stop - first < _BLOCK:
        raise OSError(f"sandboxes need {_BLOCK} uids and gids of their own, this user namespace offers {max(0, stop - first)}")
    return IdSpace(first, stop - first)


def template_uid(instance: str, number: int) -> int:
    """Return the first uid of a template's range, from which each of its jobs gets two."""
    return _FIRST_TEMPLATE_UID + (int(instance[:2], 16) * TEMPLATES_PER_INSTANCE + number) * UIDS_PER_SANDBOX


def has_template_ids() -> bool:
    """Whether this process's user namespace has ids for templates: each wants a whole range, to divide among its jobs."""
    return _offers(_FIRST_TEMPLATE_UID, _INSTANCES * TEMPLATES_PER_INSTANCE * UIDS_PER_SANDBOX)


def uplink_uid(instance: str, slot: int) -> int:
    """Return the uid of the uplink of a slot's sandbox, which nobody else has; OSError where there is no such uid."""
    return _first_uplink_uid() + int(instance[:2], 16) * SLOTS_PER_INSTANCE + slot


def trial_uplink_uid() -> int:
    """Return a uid that no sandbox's uplink has; OSError as for theirs."""
    return _first_uplink_uid() + _SANDBOXES


def _first_uplink_uid() -> int:
    if not _offers(_FIRST_UPLINK_UID, _SANDBOXES + 1):
        raise OSError("the user namespace of sandboxd has no uids for uplinks")
    return _FIRST_UPLINK_UID


@functools.cache
def _offers(first_wanted: int, count_wanted: int) -> bool:
    """Whether this process's user namespace has all these ids."""

    def offers(name: str) -> bool:
        ranges = parse_id_map(Path(f"/proc/self/{name}").read_text())
        return any(first <= first_wanted and first_wanted + count_wanted <= first + count for first, count in ranges)

    return offers("uid_map") and offers("gid_map")


@functools.cache
def id_space() -> IdSpace:
    """Return what this process's user namespace offers; OSError when that is too little. It must not change afterwards."""
    return choose_id_space(Path("/proc/self/uid_map").read_text(), Path("/proc/self/gid_map").read_text())
