import platform
from pathlib import Path
from typing import Any

from ergon_sandboxd import numerics, seccomp
from ergon_sandboxd.framing import Frame
from ergon_sandboxd.ids import TEMPLATES_PER_INSTANCE, template_uid
from ergon_sandboxd.instance import host_uid
from ergon_sandboxd.job_environment import fixed_variables, numeric_threads
from ergon_sandboxd.messages import RunRequest, parse_request
from ergon_sandboxd.oci_spec import BundlePaths, build_spec
from test_messages import run_message


def spec(**changes: Any) -> dict[str, Any]:
    request = parse_request(Frame(run_message(**changes), b""))
    assert isinstance(request, RunRequest)
    return build_spec(request, BundlePaths(*(Path(f"/b/{name}") for name in "rwtsixln")), 1 << 30, 4096)


def test_the_root_is_read_only_and_nothing_but_our_binds_is_mounted() -> None:
    found = spec()
    assert found["root"] == {"path": "/b/r", "readonly": True}
    assert [mount["destination"] for mount in found["mounts"]] == [
        "/proc",
        "/dev",
        "/dev/shm",
        "/tmp",
        "/workspace",
        "/workspace/code",
        "/workspace/input",
        "/usr/lib/ergon",
    ]
    for mount in found["mounts"]:
        assert "nosuid" in mount["options"]
        if mount["destination"] in ("/workspace/code", "/workspace/input", "/usr/lib/ergon"):
            assert "ro" in mount["options"]


def test_a_read_only_workspace_is_a_read_only_mount() -> None:
    options = {access: {mount["destination"]: mount["options"] for mount in spec(workspace=access)["mounts"]} for access in ("read_only", "read_write")}
    assert "ro" in options["read_only"]["/workspace"] and "ro" not in options["read_write"]["/workspace"]
    assert all("ro" not in options["read_only"][place] for place in ("/tmp", "/dev/shm"))


def test_all_namespaces_and_an_unprivileged_mapping() -> None:
    linux = spec()["linux"]
    assert {entry["type"] for entry in linux["namespaces"]} == {"pid", "ipc", "uts", "mount", "network", "user", "cgroup"}
    assert [entry["type"] for entry in linux["namespaces"] if "path" in entry] == ["network"]
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": 1 << 30, "size": 65536}]


def test_privileges() -> None:
    process = spec()["process"]
    assert process["noNewPrivileges"] is True
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert process["capabilities"]["bounding"] == ["CAP_SETUID", "CAP_SETGID"]
    assert {"type": "RLIMIT_CORE", "soft": 0, "hard": 0} in process["rlimits"]


def test_requested_variables_reach_the_job_and_never_init() -> None:
    process = spec(env={"LD_PRELOAD": "/workspace/code/x.so", "ERGON_RESULT": "/etc/x", "A": "b=c"})["process"]
    assert not any("LD_PRELOAD" in line for line in process["env"])
    assert "ERGON_RESULT=/workspace/result.json" in process["env"]
    assert process["args"][4:] == ["-", "2", "LD_PRELOAD=/workspace/code/x.so", "A=b=c", "python", "/workspace/code/main.py"]


def test_arguments_stay_literal() -> None:
    words = ["/bin/echo", "; rm -rf /", "$(id)", "python", "2"]
    assert spec(entry={"kind": "exec", "argv": words, "cwd": "/tmp"}, env={})["process"]["args"][4:] == ["-", "0", "exec", "/tmp", *words]


def test_threads_follow_the_cpu_limit() -> None:
    assert fixed_variables(numeric_threads(50))["OMP_NUM_THREADS"] == "1"
    assert fixed_variables(numeric_threads(400))["OPENBLAS_NUM_THREADS"] == "4"


def test_seccomp_denies_by_default_and_allows_no_privileged_call() -> None:
    found = seccomp.profile(Path("/l"))
    assert found["defaultAction"] == "SCMP_ACT_ERRNO" and found["defaultErrnoRet"] == 1
    allowed = {name for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args") for name in rule["names"]}
    refused = "mount umount2 unshare setns ptrace bpf keyctl add_key request_key io_uring_setup userfaultfd perf_event_open clone clone3 socket"
    refused += " process_vm_readv process_vm_writev pidfd_getfd open_by_handle_at kexec_load init_module chroot pivot_root personality memfd_secret"
    refused += " fsopen fsmount move_mount open_tree mount_setattr socketpair mknod mknodat sync"
    assert not allowed & set(refused.split())
    assert "SCMP_ACT_KILL_PROCESS" not in {rule["action"] for rule in found["syscalls"]}


def test_a_compiled_program_replaces_the_rules_and_fails_closed() -> None:
    request = parse_request(Frame(run_message(), b""))
    assert isinstance(request, RunRequest)
    found = build_spec(request, BundlePaths(*(Path(f"/b/{name}") for name in "rwtsixln")), 1 << 30, 4096, b"program")
    assert found["annotations"] == {"run.oci.seccomp_bpf_data": "cHJvZ3JhbQ=="}
    section = found["linux"]["seccomp"]
    assert (section["listenerPath"], section["syscalls"], section["defaultAction"]) == ("/b/l", [], "SCMP_ACT_ERRNO")
    assert "annotations" not in spec() and spec()["linux"]["seccomp"]["syscalls"]


def test_what_is_counted_is_never_allowed_and_has_a_number() -> None:
    found = seccomp.profile(Path("/l"))
    by_action = {action: [rule for rule in found["syscalls"] if rule["action"] == action] for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY")}
    counted = {name for rule in by_action["SCMP_ACT_NOTIFY"] for name in rule["names"]}
    allowed = {name for rule in by_action["SCMP_ACT_ALLOW"] if not rule.get("args") for name in rule["names"]}
    assert found["listenerPath"] == "/l" and not counted & allowed
    numbers = seccomp._COUNTED
    assert {seccomp.name_of(numbers[name][platform.machine()]) for name in counted} == counted
    for machine in ("x86_64", "aarch64"):
        known = [row[machine] for row in numbers.values() if machine in row]
        assert len(known) == len(set(known))


def test_uid_ranges_never_overlap() -> None:
    starts = sorted({host_uid(f"{instance:02x}" + "0" * 14, slot) for instance in range(256) for slot in range(64)})
    assert len(starts) == 256 * 64
    assert all(after - before >= 65536 for before, after in zip(starts, starts[1:]))
    assert starts[0] >= 1 << 30 and starts[-1] + 65536 <= 1 << 31
    templates = sorted({template_uid(f"{instance:02x}" + "0" * 14, number) for instance in range(256) for number in range(TEMPLATES_PER_INSTANCE)})
    assert len(templates) == 256 * TEMPLATES_PER_INSTANCE
    assert all(after - before >= 65536 for before, after in zip(templates, [*templates[1:], starts[0]]))


def test_numerics_name_only_what_the_cpu_has() -> None:
    v3 = frozenset({"sse4_2", "avx", "avx2", "fma", "f16c", "bmi2"})
    assert numerics.variables(v3) == {"OPENBLAS_CORETYPE": "Haswell"}
    assert numerics.variables(v3 | {"avx512f", "avx512cd"})["NPY_DISABLE_CPU_FEATURES"] == "AVX512F AVX512CD"
    assert numerics.variables(frozenset({"sse4_2", "avx"})) == {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "AVX"}
    assert numerics.variables(frozenset()) == {}
