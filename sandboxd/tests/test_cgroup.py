import errno
import os
from pathlib import Path

import pytest

from ergon_sandboxd.cgroup import LeafLimits, detect_hierarchy
from ergon_sandboxd.cgroup.detect import CgroupMounts, own_group, read_mounts
from ergon_sandboxd.cgroup.v2 import V2Hierarchy, V2Leaf, delegate

LIMITS = LeafLimits(memory_bytes=1 << 26, pids=10)

V2_LINE = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_LINES = "\n".join(
    f"3{index} 30 0:3{index} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}" for index, name in enumerate(("memory", "pids", "cpu,cpuacct"))
)


def fake_v2(root: Path) -> V2Hierarchy:
    for folder in (root, root / "ergon", root / "ergon" / "one"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").write_text("")
        (folder / "cgroup.procs").write_text("")
    return V2Hierarchy(root, "one")


def test_layouts() -> None:
    assert read_mounts(V2_LINE).layout == "v2"
    assert read_mounts(V1_LINES).layout == "v1"
    assert read_mounts(V1_LINES + "\n" + V2_LINE).layout == "hybrid"
    assert read_mounts("1 1 0:1 / / rw - ext4 /dev/vda rw").layout == "none"
    assert read_mounts(V1_LINES).v1["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")


def test_missing_controllers_are_named() -> None:
    with pytest.raises(OSError, match="pids, cpu, cpuacct"):
        detect_hierarchy("x", CgroupMounts({"memory": Path("/m")}, None))
    with pytest.raises(OSError):
        detect_hierarchy("x", CgroupMounts({}, None))


def fake_group(folder: Path, controllers: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text(controllers)
    for name in ("cgroup.subtree_control", "cgroup.procs"):
        (folder / name).write_text("")
    return folder


def test_v2_controllers_that_are_missing_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    top = fake_group(tmp_path / "top", "cpuset memory pids\n")
    with pytest.raises(OSError, match="the cgroup / lacks the controllers cpu; it has cpuset, memory, pids"):
        detect_hierarchy("x", CgroupMounts({}, top))
    fake_group(top / "user.slice" / "a.scope", "memory\n")
    with pytest.raises(OSError, match=r"the cgroup /user.slice/a.scope lacks the controllers pids, cpu; it has memory"):
        detect_hierarchy("x", CgroupMounts({}, top), "/user.slice/a.scope")


def test_a_delegated_group_is_divided_and_not_the_top(tmp_path: Path) -> None:
    top = fake_group(tmp_path / "top", "")
    fake_group(top / "user.slice" / "a.scope", "cpu memory pids\n")
    hierarchy = detect_hierarchy("one", CgroupMounts({}, top), "/user.slice/a.scope")
    fake_group(top / "user.slice" / "a.scope" / "ergon", "")
    fake_group(top / "user.slice" / "a.scope" / "ergon" / "one", "")
    hierarchy.create("job")
    assert (top / "user.slice" / "a.scope" / "ergon" / "one" / "job").is_dir()


def test_a_group_that_is_not_delegated_is_refused_with_what_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = fake_group(tmp_path / "top", "")
    fake_group(top / "a.scope", "cpu memory pids\n")
    # Root may write to anything, so the answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("cgroup.procs"))
    with pytest.raises(OSError, match="the cgroup /a.scope is not delegated to this user: it may not write to cgroup.procs"):
        detect_hierarchy("x", CgroupMounts({}, top), "/a.scope")
    with pytest.raises(OSError, match="is mounted read-only"):
        detect_hierarchy("x", CgroupMounts({}, top / "a.scope"))


@pytest.mark.parametrize("layout", ["v1", "hybrid", "none"])
def test_an_ordinary_user_needs_a_pure_v2(layout: str) -> None:
    v1 = {} if layout == "none" else {name: Path("/m") for name in ("memory", "pids", "cpu", "cpuacct")}
    with pytest.raises(OSError, match=f"pure cgroup v2 .* {layout}"):
        detect_hierarchy("x", CgroupMounts(v1, Path("/u") if layout == "hybrid" else None), "/a.scope")


def test_the_own_group_is_the_one_before_sandboxd_moved_aside() -> None:
    assert own_group("0::/user.slice/a.scope\n") == own_group("0::/user.slice/a.scope/ergon-supervisor\n") == "/user.slice/a.scope"
    assert own_group("5:memory:/x\n0::/\n") == own_group("0::/ergon-supervisor\n") == "/"
    with pytest.raises(OSError):
        own_group("5:memory:/x\n")


def test_delegation_that_never_succeeds_ends_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> int:
        raise OSError(errno.EBUSY, "busy")

    folder = fake_group(tmp_path / "top", "cpu memory pids\n")
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="so it cannot delegate"):
        delegate(folder)


def test_v2_delegates_and_sets_limits(tmp_path: Path) -> None:
    hierarchy = fake_v2(tmp_path)
    leaf = hierarchy.create("job")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    folder = tmp_path / "ergon" / "one" / "job"
    (folder / "memory.swap.max").write_text("max")
    leaf.set_limits(LIMITS)
    leaf.limit_cpu(150)
    assert (folder / "memory.max").read_text() == str(1 << 26)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "10"
    assert (folder / "cpu.max").read_text() == "150000 100000"
    assert hierarchy.leftovers() == ["job"]
    with pytest.raises(FileExistsError):
        hierarchy.create("job")


def test_v2_counters(tmp_path: Path) -> None:
    leaf = V2Leaf(tmp_path)
    assert (leaf.cpu_ms(), leaf.memory_peak_bytes(), leaf.oom_kills(), leaf.pids_refused(), leaf.processes()) == (0, 0, 0, 0, [])
    (tmp_path / "cpu.stat").write_text("usage_usec 12345\nuser_usec 1\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "pids.events").write_text("max 7\n")
    (tmp_path / "cgroup.procs").write_text("11\n0\n12\n")
    assert (leaf.cpu_ms(), leaf.oom_kills(), leaf.pids_refused(), leaf.processes()) == (12, 2, 7, [11, 12])
    (tmp_path / "memory.current").write_text("500")
    assert leaf.memory_peak_bytes() == 500
    (tmp_path / "memory.current").write_text("100")
    assert leaf.memory_peak_bytes() == 500, "without memory.peak the largest sample counts"
    (tmp_path / "memory.peak").write_text("900")
    assert leaf.memory_peak_bytes() == 900


def test_v2_kill_is_one_write(tmp_path: Path) -> None:
    (tmp_path / "cgroup.kill").write_text("")
    V2Leaf(tmp_path).kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"


def test_v2_kill_without_cgroup_kill(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        import time

        time.sleep(60)
        os._exit(0)
    (tmp_path / "cgroup.procs").write_text(f"{child}\n")
    (tmp_path / "pids.max").write_text("10")
    V2Leaf(tmp_path).kill()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    assert (tmp_path / "pids.max").read_text() == "0"


def test_v2_removal_of_a_leaf_that_is_gone_is_no_error(tmp_path: Path) -> None:
    V2Leaf(tmp_path / "gone").remove()
