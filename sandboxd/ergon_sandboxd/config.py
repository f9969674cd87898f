"""Command line of sandboxd."""

import argparse
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from .uplink.addresses import parse_network

MAX_SANDBOXES = 48
MAX_READY = 16
MAX_CHILD_SECONDS = 60.0
# Each has two uids of its own in its template's range.
MAX_CHILDREN = 10_000


@dataclass(frozen=True)
class Config:
    """How this sandboxd was started."""

    home: Path
    environments: Path
    socket: Path
    worker_uid: int
    worker_gid: int
    max_sandboxes: int
    ready_children: int
    children_per_template: int
    child_seconds: float
    die_with_parent: bool
    started_by: int
    probe: bool
    runtime: str | None
    allow_uplink: bool
    # Private networks that an uplink may be asked to lead to, or to parts of them.
    uplink_networks: tuple[IPv4Network, ...]
    # Not an argument: True when an ordinary user started it.
    rootless: bool = False
    # Nor this: a descriptor of the network that sandboxd was started in, where uplinks are allowed.
    host_network: int | None = None


def parse_arguments(arguments: list[str]) -> Config:
    """Parse the command line; exits with status 2 and a usage line when it is wrong."""
    parser = argparse.ArgumentParser(prog="sandboxd", description="Makes, watches and removes sandboxes for Ergon's workers.")
    parser.add_argument("--home", type=Path, help="run folder of this Ergon installation")
    parser.add_argument("--environments", type=Path, help="folder of <name>@<digest>/rootfs folders")
    parser.add_argument("--socket", type=Path, help="where to listen")
    parser.add_argument("--worker-uid", type=int, default=0, help="the OS user that may connect, beside the one that started this")
    parser.add_argument("--worker-gid", type=int, default=0, help="the group that owns the socket")
    parser.add_argument("--max-sandboxes", type=int, default=8, help=f"sandboxes at once, 1 to {MAX_SANDBOXES}")
    parser.add_argument("--ready", type=int, default=2, help="children that a warm template keeps ready, 1 to 16")
    parser.add_argument("--children-per-template", type=int, default=MAX_CHILDREN, help=f"jobs after which a template is replaced, 1 to {MAX_CHILDREN}")
    parser.add_argument("--child-seconds", type=float, default=1.0, help=f"how long a job waits for a ready child before it gets a container of its own, up to {MAX_CHILD_SECONDS:.0f}")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this one ends")
    parser.add_argument("--probe", action="store_true", help="print what the host offers as JSON and exit")
    parser.add_argument("--runtime", help="refuse to start unless this OCI runtime can start sandboxes here")
    parser.add_argument("--allow-uplink", action="store_true", help="let workers ask for sandboxes that reach public addresses; without it none does")
    parser.add_argument("--uplink-network", type=parse_network, action="append", default=[], metavar="ADDRESS/PREFIX", help="a private network that they may ask for, too; may be repeated")
    parser.add_argument("--started-by", type=int, default=0, help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    if not found.probe:
        for name in ("home", "environments", "socket"):
            if getattr(found, name) is None:
                parser.error(f"--{name} is required")
    if not 1 <= found.max_sandboxes <= MAX_SANDBOXES:
        parser.error(f"--max-sandboxes must be from 1 to {MAX_SANDBOXES}")
    if not 1 <= found.ready <= MAX_READY:
        parser.error(f"--ready must be from 1 to {MAX_READY}")
    if not 1 <= found.children_per_template <= MAX_CHILDREN:
        parser.error(f"--children-per-template must be from 1 to {MAX_CHILDREN}")
    if not 0 < found.child_seconds <= MAX_CHILD_SECONDS:
        parser.error(f"--child-seconds must be above 0 and at most {MAX_CHILD_SECONDS:.0f}")
    if found.uplink_network and not found.allow_uplink:
        parser.error("--uplink-network needs --allow-uplink")
    nowhere = Path("/nonexistent")
    return Config(
        home=(found.home or nowhere).absolute(),
        environments=(found.environments or nowhere).absolute(),
        socket=(found.socket or nowhere).absolute(),
        worker_uid=found.worker_uid,
        worker_gid=found.worker_gid,
        max_sandboxes=found.max_sandboxes,
        ready_children=found.ready,
        children_per_template=found.children_per_template,
        child_seconds=found.child_seconds,
        die_with_parent=found.die_with_parent,
        started_by=found.started_by,
        probe=found.probe,
        runtime=found.runtime,
        allow_uplink=found.allow_uplink,
        uplink_networks=tuple(found.uplink_network),
    )
