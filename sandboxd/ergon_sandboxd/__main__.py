"""Entry point: parse, enter the namespaces, then serve or probe."""

import json
import os
import sys
from dataclasses import replace

from .cgroup.detect import CgroupMounts, clear_the_top, read_mounts
from .config import Config, parse_arguments
from .log import log
from .namespaces import die_with, run_inside
from .probe import Missing, find_hierarchy, probe
from .rootless import enter_user_namespace
from .server import CANNOT_ISOLATE, serve

_ROOTLESS_REMEDY = "start it as root, or give this user ids: apt-get install uidmap, usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"


def _print_probe(config: Config, mounts: CgroupMounts, missing: list[Missing]) -> int:
    hierarchy = find_hierarchy(f"probe-{os.getpid()}-{config.started_by}", config, mounts)
    facts = probe(hierarchy, config, missing)
    if not isinstance(hierarchy, OSError):
        hierarchy.remove()
    print(json.dumps(facts), flush=True)
    return 1 if facts["missing"] else 0


def _become_rootless(config: Config) -> tuple[Config, list[Missing]]:
    """Enter a user namespace; what that lacks is returned, not raised, so that a probe can list all that is missing."""
    uid = os.getuid()
    # Inside, the caller's own uid is 0 and other users have none.
    inside = replace(config, rootless=True, worker_uid=0, worker_gid=0)
    if config.worker_uid not in (0, uid):
        detail = f"--worker-uid {config.worker_uid} is another user than {uid}, whom a sandboxd that is not root serves alone"
        return inside, [{"capability": "worker_uid", "detail": detail, "remedy": f"run the worker as uid {uid}, or sandboxd as root"}]
    try:
        enter_user_namespace()
    except OSError as error:
        return inside, [{"capability": "subordinate_ids", "detail": str(error), "remedy": _ROOTLESS_REMEDY}]
    return inside, []


def main(arguments: list[str]) -> int:
    """Run sandboxd; returns the exit status."""
    config = parse_arguments(arguments)
    os.umask(0o022)
    missing: list[Missing] = []
    if os.geteuid() != 0:
        config, missing = _become_rootless(config)
    if config.die_with_parent:
        die_with(config.started_by)
    clear_the_top(config.rootless)
    if config.probe:
        try:
            return run_inside(lambda mounts: _print_probe(config, mounts, missing))
        except OSError:
            # Without namespaces of its own it can still say what is missing.
            return _print_probe(config, read_mounts(), missing)
    if config.allow_uplink:
        # Before it is left for good.
        config = replace(config, host_network=os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    for entry in missing:
        log(f"{entry['capability']}: {entry['detail']}; {entry['remedy']}")
    if missing:
        return CANNOT_ISOLATE
    return run_inside(lambda mounts: serve(config, mounts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
