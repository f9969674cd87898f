"""Where an uplink may lead, and the filter that holds it to that."""

import struct
from ipaddress import IPv4Address, IPv4Network

import pytest

from ergon_sandboxd.config import parse_arguments
from ergon_sandboxd.errors import SandboxError
from ergon_sandboxd.framing import Frame
from ergon_sandboxd.messages import Network, RunRequest, parse_request
from ergon_sandboxd.uplink.addresses import MAX_NETWORKS, PRIVATE, Reach, parse_network, reachable
from ergon_sandboxd.uplink.gate import gate_program
from ergon_sandboxd.uplink.permission import permit_uplink
from test_messages import refused, run_message

PUBLIC = ("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255")
PUBLIC_TOO = ("172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "198.17.255.255", "203.0.114.0", "223.255.255.255")
CLOSED = ("0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.0", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.2.2", "192.0.2.50")
CLOSED_TOO = ("192.168.1.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255")


def passes(program: bytes, frame: bytes) -> bool:
    """Run classic BPF over a frame, as the kernel would."""
    steps, at, value = list(struct.iter_unpack("=HBBI", program)), 0, 0
    while True:
        code, if_true, if_false, constant = steps[at]
        at += 1
        if code == 0x06:
            return bool(constant)
        if code == 0x15:
            at += if_true if value == constant else if_false
        elif code == 0x54:
            value &= constant
        else:
            size = {0x28: 2, 0x20: 4}[code]
            if constant + size > len(frame):
                return False
            value = int.from_bytes(frame[constant : constant + size], "big")


def frame(destination: str, kind: int = 0x0800) -> bytes:
    return bytes(12) + struct.pack(">H", kind) + bytes(16) + IPv4Address(destination).packed + bytes(20)


def is_routed(destination: str, reach: Reach = Reach()) -> bool:
    return any(IPv4Address(destination) in network for network in reachable(reach))


def test_routes_and_gate_agree_on_every_address() -> None:
    program = gate_program(Reach())
    for address in PUBLIC + PUBLIC_TOO:
        assert is_routed(address) and passes(program, frame(address)), address
    for address in CLOSED + CLOSED_TOO:
        assert not is_routed(address) and not passes(program, frame(address)), address


def test_the_gate_lets_nothing_out_but_ipv4_and_arp() -> None:
    program = gate_program(Reach())
    assert passes(program, frame("8.8.8.8", 0x0806)) and passes(program, frame("192.0.2.3"))
    for kind in (0x86DD, 0x8100, 0x0000, 0x88CC, 0x8864):
        assert not passes(program, frame("8.8.8.8", kind))
    assert not passes(program, frame("8.8.8.8")[:30]) and not passes(program, b"")


def test_a_named_network_is_open_and_its_neighbours_are_not() -> None:
    allowed = Reach((IPv4Network("10.1.2.0/24"), IPv4Network("169.254.169.254/32")))
    program = gate_program(allowed)
    for address in ("10.1.2.0", "10.1.2.255", "169.254.169.254"):
        assert is_routed(address, allowed) and passes(program, frame(address))
    for address in ("10.1.1.255", "10.1.3.0", "169.254.169.253", "192.168.1.1"):
        assert not is_routed(address, allowed) and not passes(program, frame(address))


def test_the_hosts_own_addresses_are_closed_unless_one_is_named_alone() -> None:
    host = [IPv4Address(address) for address in ("127.0.0.1", "10.0.0.5", "10.0.0.6", "192.168.0.9", "8.8.8.8", "1.1.1.1")]
    reach = Reach.beyond(host, map(IPv4Network, ("1.1.1.1/32", "10.0.0.0/24", "10.0.0.6/32")))
    program = gate_program(reach)
    # Loopback and the private one that no network has are closed anyway.
    assert [str(address) for address in reach.own] == ["8.8.8.8/32", "10.0.0.5/32"]
    for address, is_open in (("8.8.8.8", False), ("8.8.8.7", True), ("8.8.8.9", True), ("1.1.1.1", True), ("10.0.0.5", False)):
        assert is_routed(address, reach) == passes(program, frame(address)) == is_open, address
    for address, is_open in (("10.0.0.4", True), ("10.0.0.6", True), ("10.0.1.1", False), ("192.168.0.9", False), ("127.0.0.1", False)):
        assert is_routed(address, reach) == passes(program, frame(address)) == is_open, address


def test_reachable_networks_are_few_and_hold_no_private_one() -> None:
    found = reachable(Reach())
    assert len(found) < 150 and not any(network.overlaps(private) for network in found for private in PRIVATE)
    everything = sum(network.num_addresses for network in (*found, *PRIVATE))
    assert everything == 1 << 32


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0/0", "127.0.0.1/32", "0.0.0.0/8", "224.0.0.1/32", "255.255.255.255/32", "192.0.2.0/25", "10.0.0.1/8", "10.0.0.0", "::/0", "10.0.0.0/33", "x/8", "", "/8"],
)
def test_networks_that_no_request_can_name(text: str) -> None:
    with pytest.raises(ValueError):
        parse_network(text)
    for networks in ([text], [5], {}, None, text):
        assert refused(run_message(network={"level": "uplink", "networks": networks})).code == "PROTOCOL"


def test_an_uplink_in_a_request() -> None:
    assert request(("10.0.0.0/8",)).network == Network("uplink", (IPv4Network("10.0.0.0/8"),))
    for network in ({"level": "uplink"}, {"level": "none", "networks": []}, {"level": "uplink", "networks": ["10.0.0.0/8"] * (MAX_NETWORKS + 1)}):
        assert refused(run_message(network=network)).code == "PROTOCOL"


def request(networks: tuple[str, ...] = (), **changes: str) -> RunRequest:
    found = parse_request(Frame(run_message(network={"level": "uplink", "networks": list(networks)}, **changes), b""))
    assert isinstance(found, RunRequest)
    return found


@pytest.mark.parametrize(
    ("flags", "networks", "runtime"),
    [
        ([], (), "crun"),
        (["--allow-uplink"], ("10.0.0.0/8",), "crun"),
        (["--allow-uplink", "--uplink-network", "10.1.0.0/16"], ("10.0.0.0/8",), "crun"),
        (["--allow-uplink", "--uplink-network", "10.1.0.0/16"], ("10.1.0.0/24", "10.2.0.0/24"), "crun"),
        (["--allow-uplink"], (), "runsc"),
    ],
)
def test_whoever_started_sandboxd_decides(flags: list[str], networks: tuple[str, ...], runtime: str) -> None:
    config = parse_arguments(["--probe", *flags])
    with pytest.raises(SandboxError) as caught:
        permit_uplink(request(networks, runtime=runtime), config, "0" * 16, 0)
    assert caught.value.code == "UPLINK_NOT_ALLOWED"


def test_a_private_network_needs_an_uplink() -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--probe", "--uplink-network", "10.0.0.0/8"])
