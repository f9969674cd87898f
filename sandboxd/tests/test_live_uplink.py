"""A sandbox's way out, with a network namespace in the place of the host that has public and private addresses of its own."""

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ergon_sandboxd import syscalls
from ergon_sandboxd.instance import instance_name
from live_sandboxd import LiveSandboxd
from sandbox_client import Client, Outcome, Refused, run

PUBLIC, OTHER_PUBLIC, PRIVATE, METADATA, HOST = "93.184.216.34", "8.8.8.8", "10.9.9.9", "169.254.169.254", "127.0.0.1"
# A public address of the host's own, and a private one.
OWN, OWN_PRIVATE = "93.184.216.99", "10.9.7.7"
GATEWAY, NEIGHBOUR, GROUP = "192.0.2.2", "192.0.2.50", "239.255.255.250"
RUNTIMES = pytest.mark.parametrize("runtime", ["crun", "runc"])
PRELUDE = """
import errno, fcntl, json, os, socket, struct
found = {}
def attempt(name, body):
    try: found[name] = body()
    except OSError as error: found[name] = errno.errorcode.get(error.errno, str(error))
def ask(address, port=8080):
    with socket.create_connection((address, port), 3) as connection: return connection.recv(100).decode()
def datagram(address, *options, bind=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for option in options: one.setsockopt(*option)
        if bind: one.bind((bind, 0))
        one.sendto(b"hello", (address, 8080)); one.settimeout(1)
        return one.recv(100).decode()
"""


class Host:
    """The network that sandboxd is started in: a thread answers each connection with the address that it was made to."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[str] = []
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        try:
            self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            # Of others, although they end here: an address that the host has itself is closed.
            addresses = [PUBLIC, OTHER_PUBLIC, PRIVATE, METADATA, NEIGHBOUR, "10.8.8.8"]
            routes = [f"ip route add local {address}/32 dev lo" for address in addresses]
            commands = ["ip link set lo up multicast on", f"ip address add {OWN}/32 dev lo", f"ip address add {OWN_PRIVATE}/32 dev lo", *routes, f"ip route add {GROUP}/32 dev lo"]
            for command in commands:
                subprocess.run(command.split(), check=True)
            self._sockets = [self._listen(), self._datagrams(8080), self._datagrams(53)]
        finally:
            syscalls.enter(own, syscalls.CLONE_NEWNET)
            os.close(own)
        for body, sock in zip((self._serve, self._echo, self._resolve), self._sockets, strict=True):
            threading.Thread(target=body, args=(sock,), daemon=True).start()
        (folder / "resolv.conf").write_text(f"nameserver {PUBLIC}\n")

    def _listen(self) -> socket.socket:
        server = socket.socket()
        server.bind(("0.0.0.0", 8080))
        server.listen(64)
        return server

    def _datagrams(self, port: int) -> socket.socket:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", port))
        server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(HOST))
        server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        return server

    def _serve(self, server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            address = connection.getsockname()[0]
            self.seen.append(address)
            connection.sendall(address.encode())
            connection.close()

    def _echo(self, server: socket.socket) -> None:
        while True:
            _, ancillary, _, client = server.recvmsg(2048, 256)
            address = socket.inet_ntoa(ancillary[0][2][8:12])
            self.seen.append(f"datagram to {address}")
            server.sendto(address.encode(), client)

    def _resolve(self, server: socket.socket) -> None:
        """Answer every question for an address with the public one."""
        while True:
            question, client = server.recvfrom(2048)
            (kind,) = struct.unpack(">H", question[-4:-2])
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(PUBLIC) if kind == 1 else b""
            server.sendto(question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(kind == 1), 0, 0) + question[12:] + answer, client)

    def enter(self) -> None:
        syscalls.enter(self._own, syscalls.CLONE_NEWNET)


class HostedSandboxd(LiveSandboxd):
    """Started in that network, with its name server."""

    def __init__(self, home: Path, host: Host) -> None:
        super().__init__(home)
        self._host = host

    def command(self, *extra: str) -> list[str]:
        bind = f'mount --bind {self.home}/resolv.conf "$(readlink -f /etc/resolv.conf)" && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", bind, "sh", *super().command(*extra)]

    def start(self, *extra: str) -> dict[str, Any]:
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._host.enter()
        try:
            return super().start(*extra)
        finally:
            syscalls.enter(own, syscalls.CLONE_NEWNET)
            os.close(own)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostedSandboxd, Host]]:
    home = tmp_path_factory.mktemp("uplink")
    host = Host(home)
    live = HostedSandboxd(home, host)
    live.start("--max-sandboxes", "4", "--allow-uplink", "--uplink-network", "10.9.0.0/16")
    yield live, host
    assert live.stop() == 0
    assert live.leaves() == []


@pytest.fixture
def host(hosted: tuple[HostedSandboxd, Host]) -> Iterator[Host]:
    live, host = hosted
    host.seen.clear()
    yield host
    live.wait_until_clean()
    assert uplinks(live) == []
    live.assert_alive()


@pytest.fixture
def gateway(hosted: tuple[HostedSandboxd, Host]) -> Path:
    return hosted[0].socket


def uplinks(live: LiveSandboxd) -> list[int]:
    """The uplink processes of one sandboxd, by its cgroups."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text() == "slirp4netns\n" and instance_name(live.socket) in (folder / "cgroup").read_text():
                found.append(int(folder.name))
        except OSError:
            # It has just ended.
            continue
    return found


def wait_until_gone(live: LiveSandboxd) -> None:
    deadline = time.monotonic() + 10
    while uplinks(live):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def attempts(gateway: Path, environment: str, source: str, networks: tuple[str, ...] = (), **request: Any) -> tuple[dict[str, str], Outcome]:
    entry = {"kind": "exec", "argv": ["/usr/bin/python3", "-c", PRELUDE + source + "\nprint(json.dumps(found))"], "cwd": "/tmp"}
    network = {"level": "uplink", "networks": list(networks)}
    outcome = run(gateway, environment, "", entry=entry, network=network, **request)
    assert outcome.exit == ("exited", 0), outcome.stderr.decode()
    return json.loads(outcome.stdout), outcome


@RUNTIMES
def test_public_addresses_and_names_are_reached(gateway: Path, host: Host, environment: str, runtime: str) -> None:
    source = f"""
attempt("tcp", lambda: ask("{PUBLIC}"))
attempt("other", lambda: ask("{OTHER_PUBLIC}"))
attempt("udp", lambda: datagram("{PUBLIC}"))
attempt("name", lambda: ask("service.example"))
attempt("address", lambda: socket.getaddrinfo("service.example", 80, type=socket.SOCK_STREAM, family=socket.AF_INET)[0][4][0])
"""
    found, outcome = attempts(gateway, environment, source, runtime=runtime)
    assert found == {"tcp": PUBLIC, "other": OTHER_PUBLIC, "udp": PUBLIC, "name": PUBLIC, "address": PUBLIC}
    assert outcome.counters["network_attempts"] == 0
    assert host.seen == [PUBLIC, OTHER_PUBLIC, f"datagram to {PUBLIC}", PUBLIC]


@RUNTIMES
def test_the_host_and_private_networks_are_not(gateway: Path, host: Host, environment: str, runtime: str) -> None:
    closed = [OWN, PRIVATE, METADATA, NEIGHBOUR, "10.8.8.8", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.1"]
    source = f"""
for address in {closed!r}:
    attempt(address, lambda: ask(address))
    attempt("datagram to " + address, lambda: datagram(address))
for address in ("{HOST}", "{GATEWAY}"): attempt(address, lambda: ask(address))
for port in (22, 53, 8080): attempt(f"name server, port {{port}}", lambda: ask("192.0.2.3", port) if port != 53 else "")
for address in ("2001:4860:4860::8888", "fe80::1%tap0", "::ffff:10.9.9.9"): attempt(address, lambda: ask(address))
"""
    found, outcome = attempts(gateway, environment, source, runtime=runtime)
    unrouted = {name: end for name, end in found.items() if name.removeprefix("datagram to ") in closed}
    assert unrouted == dict.fromkeys(unrouted, "ENETUNREACH") and len(unrouted) == 2 * len(closed)
    assert outcome.counters["network_attempts"] >= len(unrouted)
    # The sandbox's own loopback, on which nothing listens.
    assert found[HOST] == "ECONNREFUSED"
    assert host.seen == []


def test_what_goes_round_the_routes_ends_at_the_gate(gateway: Path, host: Host, environment: str) -> None:
    source = f"""
device = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"tap0")
broadcast = (socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
attempt("device", lambda: datagram("{PRIVATE}", device))
attempt("group", lambda: datagram("{GROUP}", (socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.0.2.100")), (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 9)))
attempt("group by source", lambda: datagram("{GROUP}", bind="192.0.2.100"))
attempt("group by device", lambda: datagram("{GROUP}", device))
attempt("everybody", lambda: datagram("255.255.255.255", device, broadcast))
attempt("everybody by source", lambda: datagram("255.255.255.255", broadcast, bind="192.0.2.100"))
attempt("source route", lambda: datagram("{PRIVATE}", (socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 7, 4]) + socket.inet_aton("{PUBLIC}") + b"\\0")))
attempt("no route", lambda: datagram("{METADATA}", (socket.SOL_SOCKET, 5, 1), device))
attempt("control", lambda: datagram("{PUBLIC}", device))
"""
    found, _ = attempts(gateway, environment, source)
    assert PRIVATE not in found.values() and METADATA not in found.values() and GROUP not in found.values()
    # A source route makes the first stop the destination, and slirp knows no further ones.
    assert set(host.seen) <= {f"datagram to {PUBLIC}"} and found["control"] == PUBLIC


def test_a_network_that_is_allowed_and_asked_for_is_reached(gateway: Path, host: Host, environment: str) -> None:
    source = f'attempt("asked", lambda: ask("{PRIVATE}"))\nattempt("other", lambda: ask("10.8.8.8"))'
    assert attempts(gateway, environment, source, (f"{PRIVATE}/32",))[0] == {"asked": PRIVATE, "other": "ENETUNREACH"}
    assert attempts(gateway, environment, source)[0] == {"asked": "ENETUNREACH", "other": "ENETUNREACH"}
    with pytest.raises(Refused, match="UPLINK_NOT_ALLOWED: the private network 10.0.0.0/8 is in none"):
        attempts(gateway, environment, source, ("10.0.0.0/8",))


def test_a_network_that_the_host_is_in_does_not_lead_to_it(gateway: Path, host: Host, environment: str) -> None:
    source = f"""
device = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"tap0")
attempt("host", lambda: ask("{OWN_PRIVATE}"))
attempt("round the routes", lambda: datagram("{OWN_PRIVATE}", device))
attempt("neighbour", lambda: ask("{PRIVATE}"))
"""
    found, _ = attempts(gateway, environment, source, ("10.9.0.0/16",))
    assert found == {"host": "ENETUNREACH", "round the routes": "timed out", "neighbour": PRIVATE}
    assert host.seen == [PRIVATE]
    # Who names it alone means it.
    assert attempts(gateway, environment, f'attempt("host", lambda: ask("{OWN_PRIVATE}"))', (f"{OWN_PRIVATE}/32",))[0] == {"host": OWN_PRIVATE}


def test_without_the_flag_there_is_none(sandboxd: Path, environment: str) -> None:
    with pytest.raises(Refused, match="UPLINK_NOT_ALLOWED: this sandboxd gives no uplinks"):
        attempts(sandboxd, environment, "")


def test_the_job_cannot_change_its_network(gateway: Path, host: Host, environment: str) -> None:
    source = """
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for name, number in (("route", 0x890B), ("forget", 0x890C), ("address", 0x8916), ("down", 0x8914)):
    attempt(name, lambda: fcntl.ioctl(control, number, struct.pack("16sh102x", b"tap0", 0)))
attempt("sysctl", lambda: open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w"))
attempt("device", lambda: os.open("/dev/net/tun", os.O_RDWR))
attempt("name servers", lambda: open("/etc/resolv.conf", "w"))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
"""
    found, _ = attempts(gateway, environment, source)
    assert set(found.values()) <= {"EPERM", "EROFS", "ENOENT", "EACCES"} and len(found) == 9


@RUNTIMES
def test_the_uplink_process_holds_nothing_and_goes_with_its_sandbox(
    gateway: Path, hosted: tuple[HostedSandboxd, Host], host: Host, environment: str, runtime: str
) -> None:
    entry = {"kind": "exec", "argv": ["/usr/bin/sleep", "60"], "cwd": "/"}
    with Client(gateway) as client:
        client.begin(environment, "", entry=entry, network={"level": "uplink", "networks": []}, runtime=runtime)
        client.expect("started")
        (pid,) = uplinks(hosted[0])
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
        assert set(map(int, (status["Uid"] + "\t" + status["Gid"]).split())) == {int(status["Uid"].split()[0])} and int(status["Uid"].split()[0]) >= 1 << 31
        assert status["Groups"].split() == [] and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert sorted(os.listdir(f"/proc/{pid}/root")) == sorted(["dev", "etc", "ns", "usr", *(name for name in ("lib", "lib32", "lib64", "libx32") if Path("/", name).exists())])
        assert os.listdir(f"/proc/{pid}/root/etc") == ["resolv.conf"]
        links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        # No input, its output twice, the pipe whose end tells it to leave, its own socket pair, its device.
        assert sorted(link.split(":")[0].rsplit("/", 1)[-1] for link in links) == ["null", "pipe", "pipe", "pipe", "socket", "tun"]
        assert pid in hosted[0].processes()
    wait_until_gone(hosted[0])


def test_it_goes_with_sandboxd(tmp_path: Path, host: Host, environment: str) -> None:
    (tmp_path / "resolv.conf").write_text("")
    live = HostedSandboxd(tmp_path, host)
    live.start("--allow-uplink")
    entry = {"kind": "exec", "argv": ["/usr/bin/sleep", "60"], "cwd": "/"}
    with Client(live.socket) as client:
        client.begin(environment, "", entry=entry, network={"level": "uplink", "networks": []})
        client.expect("started")
        assert len(uplinks(live)) == 1
        live.stop(signal.SIGKILL)
    wait_until_gone(live)
    live.start()
    live.wait_until_clean()
    live.stop()
