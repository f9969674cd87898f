"""Which tests cannot or need not run where, each with its reason: the one place that says so.

On the machine itself, as root, every test runs. on_cgroup_v2.sh boots a pure cgroup v2 kernel and runs them again there,
as root and as an ordinary user; each start of a program costs that kernel some half a second.
"""

import fnmatch
import os
from typing import Final

_IS_USER_MODE_LINUX: Final = os.environ.get("ERGON_TEST_KERNEL") == "user-mode-linux"
# What takes a moment elsewhere; the guests also share two cores with whatever else runs.
SLOWNESS: Final = 8 if _IS_USER_MODE_LINUX else 1

_NO_GVISOR: Final = "runsc does not start on this kernel: its ptrace platform spins (tried: no sandbox after 20 s), which its trial tells"
_NO_IPV6: Final = "this kernel has no IPv6"
_SAME_CODE: Final = "tests the shim, the parser, the collection or a second value of the same, which no kernel and no user change; each start is slow on this one"
_SLOW_RUNC: Final = "on this slow kernel runc runs only the tests of what it does differently (RUNC_ON_V2)"
_SLOW_TEMPLATE: Final = "starts a template of its own, which takes this slow kernel a quarter of a minute (TEMPLATES_ON_V2)"
_NO_TEMPLATE_IDS: Final = "an ordinary user has no range of ids for templates, so every job gets a container of its own"
_NO_UPLINK: Final = "an ordinary user's sandboxd cannot go back to the host's network and gives no uplinks, which its probe tells"
_NO_TUN: Final = "this kernel has no TUN device (tried), which an uplink needs and sandboxd's trial tells"
_NEEDS_ROOT: Final = "the test itself becomes another user, which an ordinary user may not"

# What runc sets up by other means than crun: joining the leaf, limits, the filter's descriptor, being killed.
RUNC_ON_V2: Final = (
    "test_a_job_sees_its_contract*",
    "test_a_dead_handler*",
    "test_cpu[[]*while True*",
    "test_denied_calls_are_counted*",
    "test_files*",
    "test_fork_bomb[[]runc-[]]",
    "test_orphans*",
    "test_the_smallest_pid_limit*",
)

# Warm jobs share one template a test session; what starts more of them is left to these.
TEMPLATES_ON_V2: Final = (
    "test_a_job_cannot_make_children_of_its_parent[[]warm[]]",
    "test_a_template_whose_container_dies*",
    "test_nothing_passes_between_two_jobs*",
    "test_sigterm_ends_running_sandboxes*",
)

_ON_USER_MODE_LINUX: Final = {
    "test_an_allocation_beyond_the_machine*": "this kernel has neither the memory nor the address space that the test reserves",
    "*AF_INET6*": _NO_IPV6,
    "test_a_sandbox_without_network_has_no_loopback_either*": _NO_IPV6,
    "test_a_loopback_is_the_sandboxs_own*": _NO_IPV6,
    "test_a_program_starts_in_its_folder*": _SAME_CODE,
    "test_a_folder_that_cannot_be_entered*": _SAME_CODE,
    "test_what_ordinary_programs_do_is_not_counted*": _NO_IPV6,
    "test_what_programs_need_of_the_narrowed_calls_works*": _NO_IPV6,
    "test_foreign_architecture_is_killed*": "this kernel takes a 32-bit call for a 64-bit one, there is no foreign architecture",
    "test_a_forged_or_oversized_report_is_dropped*": _SAME_CODE,
    "test_a_second_one_on_the_same_socket_is_refused": _SAME_CODE,
    "test_collection_limits*": _SAME_CODE,
    "test_death_by_signal_is_seen_as_such*-15]": _SAME_CODE,
    "test_death_by_signal_is_seen_as_such*-6]": _SAME_CODE,
    "test_disk_quota*/workspace]": _SAME_CODE,
    "test_exact*": _SAME_CODE,
    "test_exception_report*": _SAME_CODE,
    "test_exit_code*": _SAME_CODE,
    "test_fuzz": _SAME_CODE,
    "test_refusals*": _SAME_CODE,
    "test_science_is_quiet_and_reproducible*": _SAME_CODE,
    "test_slow_clients_are_dropped": _SAME_CODE,
    "test_syntax_error_and_missing_module*": _SAME_CODE,
    "test_the_environment_is_a_closed_set*": _SAME_CODE,
    "test_threads_atexit_and_multiprocessing*": _SAME_CODE,
}
_AS_ORDINARY_USER: Final = {
    "test_other_users_are_not_served": _NEEDS_ROOT,
    "test_probe_tells_what_is_missing": _NEEDS_ROOT,
}


_NOT_COUNTED: Final = "gVisor refuses it itself and tells nobody (SECURITY.md); test_live_runsc.py tests that it is refused"
_OWN_KERNEL: Final = "looks at the host kernel's own files or answers; under runsc the job sees gVisor's (test_live_runsc.py)"

_UNDER_RUNSC: Final = {
    "test_a_job_has_exactly_its_pids*": "gVisor's own threads are in the leaf: 256 are added (test_live_runsc.py)",
    "test_a_look_up_is_counted*": _NOT_COUNTED,
    "test_an_allocation_beyond_the_machine*": _NOT_COUNTED,
    "test_a_program_that_ends_at_once_is_counted*": _NOT_COUNTED,
    "test_artifact_violations*": "gVisor keeps FIFOs and sockets to itself: they never reach the host, so nothing is refused",
    "test_denied_calls_are_counted_by_name*": _NOT_COUNTED,
    "test_disk_quota*/dev/shm*": "gVisor's /dev/shm is memory of its own, limited but not measured",
    "test_each_way_out_is_counted*": _NOT_COUNTED,
    "test_files*": _OWN_KERNEL,
    "test_fork_bomb*": "gVisor ends for memory, a refused thread or time, whichever is first (test_live_runsc.py)",
    "test_foreign_architecture_is_killed*": "gVisor takes a 32-bit call for a 64-bit one",
    "test_memory*": "gVisor's own memory is in the counter (test_live_runsc.py)",
    "test_network[[]*": _OWN_KERNEL,
    "test_network_buffers_are_limited*": "gVisor's network buffers are its own memory: the job ends for memory",
    "test_thread_bomb*": "gVisor cannot refuse a thread as the limit asks: the whole sandbox ends, or a clock ends it (test_live_runsc.py)",
    "test_system_calls*": _OWN_KERNEL,
    "test_the_count_is_bounded_and_stalls_nobody*": _NOT_COUNTED,
}


def reason_to_skip(test: str, file: str) -> str | None:
    """Return why this test of a file is not run here, or None."""
    is_warm = "-warm" in test or file == "test_live_warm.py"
    table: dict[str, str] = {}
    if "[runsc" in test:
        table |= _UNDER_RUNSC
    if _IS_USER_MODE_LINUX:
        table |= _ON_USER_MODE_LINUX
        if "runsc" in test:
            return _NO_GVISOR
        if file == "test_live_uplink.py":
            return _NO_TUN
        if is_warm and (file == "test_live_warm.py" or test.startswith("test_kill_9")) and not _matches(test, TEMPLATES_ON_V2):
            return _SLOW_TEMPLATE
        if "[runc" in test and not _matches(test, RUNC_ON_V2):
            return _SLOW_RUNC
    if os.geteuid() != 0 and file == "test_live_uplink.py":
        return _NO_UPLINK
    if os.geteuid() != 0 and is_warm:
        return _NO_TEMPLATE_IDS
    if os.geteuid() != 0:
        table |= _AS_ORDINARY_USER
    return next((reason for pattern, reason in table.items() if fnmatch.fnmatchcase(test, pattern)), None)


def _matches(test: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(test, pattern) for pattern in patterns)
