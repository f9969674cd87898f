"""Entry point: parse, enter the namespaces, then serve or probe."""

import json
import os
import sys

from .cgroup import Hierarchy, detect_hierarchy
from .cgroup.detect import CgroupMounts, read_mounts
from .config import Config, parse_arguments
from .namespaces import die_with, run_inside
from .probe import probe
from .server import serve


def _print_probe(config: Config, mounts: CgroupMounts) -> int:
    hierarchy: Hierarchy | OSError
    try:
        hierarchy = detect_hierarchy(f"probe-{os.getpid()}-{config.started_by}", mounts)
    except OSError as error:
        hierarchy = error
    facts = probe(hierarchy, config.max_sandboxes)
    if not isinstance(hierarchy, OSError):
        hierarchy.remove()
    print(json.dumps(facts), flush=True)
    return 1 if facts["missing"] else 0


def main(arguments: list[str]) -> int:
    """Run sandboxd; returns the exit status."""
    config = parse_arguments(arguments)
    os.umask(0o022)
    if config.die_with_parent:
        die_with(config.started_by)
    if config.probe:
        try:
            return run_inside(lambda mounts: _print_probe(config, mounts))
        except OSError:
            # Without namespaces of its own it can still say what is missing.
            return _print_probe(config, read_mounts())
    if os.geteuid() != 0:
        print("sandboxd: must be started by root", file=sys.stderr)
        return 77
    return run_inside(lambda mounts: serve(config, mounts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
