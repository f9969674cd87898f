"""Who may have an uplink: whoever started sandboxd decides, not the worker that asks."""

from typing import NamedTuple

from ..config import Config
from ..errors import SandboxError
from ..ids import uplink_uid
from ..messages import RunRequest


class UplinkPermission(NamedTuple):
    """What one sandbox's uplink process gets: a descriptor of the host's network, and a uid."""

    host_network: int
    uid: int


def permit_uplink(request: RunRequest, config: Config, instance: str, slot: int) -> UplinkPermission | None:
    """Return what a request that asks for an uplink gets, None for one that does not; SandboxError UPLINK_NOT_ALLOWED."""
    if request.network.level != "uplink":
        return None
    if not config.allow_uplink or config.host_network is None:
        raise SandboxError("UPLINK_NOT_ALLOWED", "this sandboxd gives no uplinks: whoever starts it has to say --allow-uplink")
    if request.runtime == "runsc":
        raise SandboxError("UPLINK_NOT_ALLOWED", "runsc has a network stack of its own, which gets no uplink; use crun or runc")
    for network in request.network.networks:
        if not any(network.subnet_of(allowed) for allowed in config.uplink_networks):
            raise SandboxError("UPLINK_NOT_ALLOWED", f"the private network {network} is in none that --uplink-network allows")
    return UplinkPermission(config.host_network, uplink_uid(instance, slot))
