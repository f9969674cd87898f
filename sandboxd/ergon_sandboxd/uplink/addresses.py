"""Where an uplink leads: everywhere but to private networks, and to those of them that a request names. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Any, Final, NamedTuple

# Between the sandbox and its uplink process. Reserved for documentation, so nobody's network is hidden behind it.
SUBNET: Final = IPv4Network("192.0.2.0/24")
GATEWAY: Final = IPv4Address("192.0.2.2")
NAME_SERVER: Final = IPv4Address("192.0.2.3")
OWN_ADDRESS: Final = IPv4Address("192.0.2.100")
MAX_NETWORKS: Final = 64

# Everything that is not the public internet; the server's registry/network-address.ts has the same list.
PRIVATE: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        ),
    )
)
# What no request can name: the host itself, everybody on a link at once, and the uplink's own addresses.
_NEVER: Final = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))) + (SUBNET,)


def parse_network(value: Any) -> IPv4Network:
    """Return ADDRESS/PREFIX as a network that an uplink may lead to; ValueError says what is wrong."""
    if not isinstance(value, str) or len(value) > 18 or "/" not in value:
        raise ValueError("must be an IPv4 network as ADDRESS/PREFIX")
    network = IPv4Network(value)
    for never in _NEVER:
        if network.overlaps(never):
            raise ValueError(f"{network} overlaps with {never}, to which no uplink leads")
    return network


def parse_networks(value: Any) -> tuple[IPv4Network, ...]:
    """Return the networks of a list; ValueError says what is wrong."""
    if not isinstance(value, list) or len(value) > MAX_NETWORKS:
        raise ValueError(f"must be a list of at most {MAX_NETWORKS} networks")
    return tuple(map(parse_network, value))


class Reach(NamedTuple):
    """What an uplink leads to: everything but the closed networks, the allowed ones whatever they are in, and never to the host's own addresses."""

    allowed: tuple[IPv4Network, ...] = ()
    closed: tuple[IPv4Network, ...] = PRIVATE
    own: tuple[IPv4Network, ...] = ()

    @staticmethod
    def beyond(host: Iterable[IPv4Address], allowed: Iterable[IPv4Network]) -> "Reach":
        """Close a host's own addresses, too: behind them are its local services, as behind its loopback. Only who names one alone means it."""
        networks = tuple(allowed)
        addresses = {IPv4Network(address) for address in host}.difference(networks)
        own = [address for address in addresses if not _any(address, PRIVATE) or _any(address, networks)]
        return Reach(networks, PRIVATE, tuple(sorted(own)))


def reachable(reach: Reach) -> list[IPv4Network]:
    """Return all that an uplink leads to, as few networks as possible."""
    found = _but([IPv4Network("0.0.0.0/0")], reach.closed)
    return list(collapse_addresses(_but([*found, *reach.allowed], reach.own)))


def _any(address: IPv4Network, networks: Iterable[IPv4Network]) -> bool:
    return any(address.subnet_of(network) for network in networks)


def _but(networks: list[IPv4Network], taken: Iterable[IPv4Network]) -> list[IPv4Network]:
    for each in taken:
        networks = [part for network in networks for part in _without(network, each)]
    return networks


def _without(network: IPv4Network, taken: IPv4Network) -> Iterable[IPv4Network]:
    return network.address_exclude(taken) if taken.subnet_of(network) else (network,)
