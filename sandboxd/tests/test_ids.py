from pathlib import Path

import pytest

from ergon_sandboxd.ids import JOB_UID, SLOTS_PER_INSTANCE, IdMapping, IdSpace, choose_id_space
from ergon_sandboxd.rootless import enter_user_namespace, subordinate_range

WHOLE = "         0          0 4294967295\n"
ORDINARY = "         0       2000          1\n         1     100000      65536\n"


def every_root(space: IdSpace) -> list[int]:
    return [space.root_of(f"{instance:02x}" + "0" * 14, slot) for instance in range(256) for slot in range(SLOTS_PER_INSTANCE)]


def test_root_of_the_host_gives_each_sandbox_a_range() -> None:
    space = choose_id_space(WHOLE, WHOLE)
    roots = sorted(every_root(space))
    assert roots[0] == 1 << 30 and all(after - before == 65_536 for before, after in zip(roots, roots[1:], strict=False))
    assert space.mappings(roots[1]) == [IdMapping(0, roots[1], 65_536)]


def test_an_ordinary_user_gives_each_sandbox_two_ids_that_it_has() -> None:
    space = choose_id_space(ORDINARY, ORDINARY)
    roots = every_root(space)
    used = [uid for root in roots for uid in (root, root + JOB_UID)]
    assert len(set(used)) == len(used) and min(used) == 1 and max(used) <= 65_536
    assert space.mappings(7) == [IdMapping(0, 7, 1), IdMapping(JOB_UID, 7 + JOB_UID, 1)]


@pytest.mark.parametrize("count", [2000, 3999, 4000, 10_000])
def test_a_small_range_is_never_left(count: int) -> None:
    text = f"0 1000 1\n1 100000 {count}\n"
    space = choose_id_space(text, text)
    roots = every_root(space)
    assert min(roots) >= 1 and max(roots) + JOB_UID <= count
    assert len({uid for slot in range(SLOTS_PER_INSTANCE) for root in [space.root_of("ff" * 8, slot)] for uid in (root, root + JOB_UID)}) == 2 * SLOTS_PER_INSTANCE


def test_only_ids_of_both_kinds_are_used() -> None:
    assert choose_id_space("0 5 1\n1 9 65536\n", "0 5 1\n1 9 3000\n") == IdSpace(1, 3000)
    # Root inside a container that an ordinary user's ids were given to.
    assert choose_id_space("0 100000 65536\n", "0 100000 65536\n") == IdSpace(1, 65_535)


@pytest.mark.parametrize("text", ["", "0 1000 1\n", "0 1000 1\n1 100000 1999\n"])
def test_too_few_ids_are_refused_with_the_number(text: str) -> None:
    with pytest.raises(OSError, match="2000 uids and gids"):
        choose_id_space(text, text)


def test_subordinate_ranges() -> None:
    text = "# comment\nother:1:9\nme:100000:10\n2000:300000:65536\nme:bad:1\nme:1\n"
    assert subordinate_range(text, ("me", "2000")) == (300_000, 65_536)
    assert subordinate_range(text, ("me",)) == (100_000, 10)
    assert subordinate_range(text, ("nobody",)) is None


def test_what_a_user_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root nothing is entered: root has no line in /etc/subuid, or newuidmap is looked for in an empty place."""
    monkeypatch.setattr("ergon_sandboxd.rootless._SEARCH_PATH", "/nonexistent")
    monkeypatch.setattr(Path, "read_text", lambda path: "")
    with pytest.raises(OSError, match="/etc/subuid gives the user"):
        enter_user_namespace()
    monkeypatch.setattr(Path, "read_text", lambda path: "0:100000:65536\n2000:100000:65536\n")
    with pytest.raises(OSError, match="newuidmap is not installed"):
        enter_user_namespace()
