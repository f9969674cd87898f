"""What a client may say, parsed into typed values; anything else is refused by name."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final, Literal

from .errors import SandboxError
from .framing import Frame, Message
from .limits import Limits, check_limit, parse_limits
from .uplink.addresses import parse_networks

_ID: Final = re.compile(r"[a-z0-9-]{1,64}")
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}@[0-9a-f]{64}")
_FILE: Final = re.compile(r"(code|input)/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_SEED: Final = re.compile(r"[0-9a-f]{64}")
_MAX_ENV_BYTES: Final = 16_384
_MAX_ARGUMENTS: Final = 256
_FOLDER: Final = re.compile(r"/|(/(?!\.{1,2}(/|$))[^/\0]{1,255}){1,64}")
_RUNTIMES: Final = ("crun", "runc", "runsc")


@dataclass(frozen=True)
class PythonEntry:
    """Run one file of code/ as __main__ in the interpreter that init forks."""

    file: str


@dataclass(frozen=True)
class ExecEntry:
    """Replace init's child by a program of the environment, started in a folder of the sandbox."""

    argv: tuple[str, ...]
    cwd: str


Entry = PythonEntry | ExecEntry
# A child of a warm template where there is one, or a container of its own in any case.
Isolation = Literal["warm", "fresh"]
# What a job can reach: nothing at all, the loopback of its own sandbox, or with that public addresses.
NetworkLevel = Literal["none", "loopback", "uplink"]
# Whether a job can write below /workspace and leave files there.
WorkspaceAccess = Literal["read_only", "read_write"]


@dataclass(frozen=True)
class Network:
    """The network of one sandbox."""

    level: NetworkLevel
    # Private networks that the uplink leads to nevertheless.
    networks: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True)
class ProbeRequest:
    """Ask what the host offers."""


@dataclass(frozen=True)
class WarmUpRequest:
    """Have the template for such jobs ready."""

    environment: str
    runtime: str
    cpu_percent: int


@dataclass(frozen=True)
class RunRequest:
    """One sandbox: everything but its input files."""

    id: str
    environment: str
    runtime: str
    isolation: Isolation
    entry: Entry
    env: dict[str, str]
    seed: str | None
    network: Network
    workspace: WorkspaceAccess
    limits: Limits
    on_output_limit: Literal["kill", "truncate"]


@dataclass(frozen=True)
class FileAnnouncement:
    """An input of `size` bytes follows in data frames."""

    path: str
    size: int


@dataclass(frozen=True)
class Data:
    """The next bytes of the announced input."""

    payload: bytes


@dataclass(frozen=True)
class Start:
    """All inputs are there."""


@dataclass(frozen=True)
class Kill:
    """End the sandbox now."""

    reason: str


Request = ProbeRequest | WarmUpRequest | RunRequest | FileAnnouncement | Data | Start | Kill

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "probe": (),
    "warm_up": ("environment", "runtime", "cpu_percent"),
    "run": ("id", "environment", "runtime", "isolation", "entry", "env", "seed", "network", "workspace", "limits", "on_output_limit"),
    "file": ("path", "size"),
    "data": ("bytes",),
    "start": (),
    "kill": ("reason",),
}


def _refuse(message: str) -> SandboxError:
    return SandboxError("PROTOCOL", message)


def _exact_keys(what: str, value: Message, keys: tuple[str, ...]) -> None:
    for unknown in sorted(set(value) - set(keys)):
        raise _refuse(f"unknown key {unknown[:64]!r} in {what}")
    for key in keys:
        if key not in value:
            raise _refuse(f"{what} lacks the key {key}")


def _matching(what: str, value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _refuse(f"{what} must match {pattern.pattern}")
    return value


def _plain_text(what: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _refuse(f"{what} must be a string without NUL")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refuse(f"{what} must be UTF-8") from error
    return value


def _parse_entry(value: Any) -> Entry:
    if not isinstance(value, dict):
        raise _refuse("entry must be an object")
    kind = value.get("kind")
    if kind == "python":
        _exact_keys("entry", value, ("kind", "file"))
        file = _matching("entry.file", value["file"], _FILE)
        if not file.startswith("code/"):
            raise _refuse("entry.file must be in code/")
        return PythonEntry(file)
    if kind == "exec":
        _exact_keys("entry", value, ("kind", "argv", "cwd"))
        argv = value["argv"]
        if not isinstance(argv, list) or not 1 <= len(argv) <= _MAX_ARGUMENTS:
            raise _refuse(f"entry.argv must be a list of 1 to {_MAX_ARGUMENTS} strings")
        words = tuple(_plain_text("entry.argv", word) for word in argv)
        if not words[0].startswith("/"):
            raise _refuse("entry.argv[0] must be an absolute path")
        return ExecEntry(words, _matching("entry.cwd", _plain_text("entry.cwd", value["cwd"]), _FOLDER))
    raise _refuse('entry.kind must be "python" or "exec"')


def _parse_env(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _refuse("env must be an object")
    env = {_matching("a name in env", name, _VARIABLE): _plain_text(f"env {name}", text) for name, text in value.items()}
    if sum(len(name) + len(text.encode()) + 2 for name, text in env.items()) > _MAX_ENV_BYTES:
        raise _refuse(f"env is larger than {_MAX_ENV_BYTES} bytes")
    return env


def _parse_network(value: Any) -> Network:
    if not isinstance(value, dict):
        raise _refuse("network must be an object")
    level = value.get("level")
    if level == "uplink":
        _exact_keys("network", value, ("level", "networks"))
        try:
            return Network("uplink", parse_networks(value["networks"]))
        except ValueError as error:
            raise _refuse(f"network.networks: {error}") from error
    _exact_keys("network", value, ("level",))
    if level not in ("none", "loopback"):
        raise _refuse('network.level must be "none", "loopback" or "uplink"')
    return Network(level)


def _parse_runtime(value: Any) -> str:
    if not isinstance(value, str) or value not in _RUNTIMES:
        raise _refuse(f"runtime must be one of {', '.join(_RUNTIMES)}")
    return value


def _parse_warm_up(message: Message) -> WarmUpRequest:
    return WarmUpRequest(
        environment=_matching("environment", message["environment"], _ENVIRONMENT),
        runtime=_parse_runtime(message["runtime"]),
        cpu_percent=check_limit("cpu_percent", message["cpu_percent"]),
    )


def _parse_run(message: Message) -> RunRequest:
    policy = message["on_output_limit"]
    if policy not in ("kill", "truncate"):
        raise _refuse('on_output_limit must be "kill" or "truncate"')
    isolation = message["isolation"]
    if isolation not in ("warm", "fresh"):
        raise _refuse('isolation must be "warm" or "fresh"')
    workspace = message["workspace"]
    if workspace not in ("read_only", "read_write"):
        raise _refuse('workspace must be "read_only" or "read_write"')
    seed = message["seed"]
    return RunRequest(
        id=_matching("id", message["id"], _ID),
        environment=_matching("environment", message["environment"], _ENVIRONMENT),
        runtime=_parse_runtime(message["runtime"]),
        isolation=isolation,
        entry=_parse_entry(message["entry"]),
        env=_parse_env(message["env"]),
        seed=None if seed is None else _matching("seed", seed, _SEED),
        network=_parse_network(message["network"]),
        workspace=workspace,
        limits=parse_limits(message["limits"]),
        on_output_limit=policy,
    )


def parse_request(frame: Frame) -> Request:
    """Turn a frame into a request; SandboxError names the first thing that is wrong."""
    message = dict(frame.message)
    kind = message.pop("type", None)
    if not isinstance(kind, str) or kind not in _KEYS:
        raise _refuse(f"type must be one of {', '.join(_KEYS)}")
    _exact_keys(kind, message, _KEYS[kind])
    if kind == "run":
        return _parse_run(message)
    if kind == "warm_up":
        return _parse_warm_up(message)
    if kind == "file":
        size = message["size"]
        if type(size) is not int or size < 0:
            raise _refuse("size must be an integer of 0 or more")
        return FileAnnouncement(_matching("path", message["path"], _FILE), size)
    if kind == "data":
        return Data(frame.payload)
    if kind == "kill":
        if message["reason"] not in ("cancelled", "shutdown"):
            raise _refuse('reason must be "cancelled" or "shutdown"')
        return Kill(message["reason"])
    return ProbeRequest() if kind == "probe" else Start()
