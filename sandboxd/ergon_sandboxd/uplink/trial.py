"""Whether this host can give sandboxes an uplink, found out by giving one to nobody."""

import os
from pathlib import Path

from .. import syscalls
from ..errors import SandboxError
from .namespaces import make_owned_network
from .process import Uplink, UplinkSite, locate


def try_out(uid: int, spare: Path) -> None:
    """Start an uplink and end it; OSError says what is missing. `spare` is a folder that a trial may cover for itself."""
    locate()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, _try(uid, spare).encode()[:4000])
        except (OSError, SandboxError) as error:
            os.write(writing, str(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        answer = answers.read().decode(errors="replace")
    os.waitpid(child, 0)
    if answer != "ok":
        raise OSError(answer or "the trial of an uplink died")


def _try(uid: int, spare: Path) -> str:
    host_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces = make_owned_network(uid)
    syscalls.enter(namespaces.network, syscalls.CLONE_NEWNET)
    Uplink.start(namespaces, UplinkSite(host_network, uid, spare, ()), ()).end()
    return "ok"
