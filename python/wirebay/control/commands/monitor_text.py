"""`info network` and `info usernet` as QEMU 7.2 prints them."""

from __future__ import annotations

from collections.abc import Sequence

from wirebay.network import Network
from wirebay.options.hostfwd import ANY_ADDRESS
from wirebay.options.types import HostForward
from wirebay.ports import Port
from wirebay.ports.hubport import HubportPort, PlacePort
from wirebay.ports.peers import PeerPort
from wirebay.ports.tap import TapPort
from wirebay.ports.user import UserPort
from wirebay.segments import Hub

__all__ = ["network_text", "usernet_text"]

USERNET_HEAD = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"


def network_text(network: Network) -> str:
    """The hubs with what is on them, then the ports that are on none."""
    ports = network.ports.values()
    hubports = [port for port in ports if isinstance(port, PlacePort)]
    hubs = "".join(hub_text(hub, hubports) for hub in network.hubs.values())
    loose = (port for port in ports if port.hub is None and port not in hubports)
    return hubs + "".join(port_text(port) for port in loose)


def hub_text(hub: Hub, hubports: Sequence[PlacePort]) -> str:
    """A hub: its hubports with their peers; ports that were joined without one by themselves."""
    names = {port.peer: f"{port.id}: " for port in hubports if port.peer}
    number = hub_number(hub)
    lines = [f"{hub.kind} {hub.name if number < 0 else number}\n"]
    lines += [f" \\ {names.get(port, '')}{port_text(port)}" for port in hub.ports]
    lines += [f" \\ {port.id}\n" for port in hubports if not port.peer and is_on(port, number)]
    return "".join(lines)


def is_on(port: PlacePort, number: int) -> bool:
    """Whether an empty hubport is one of this hub."""
    return isinstance(port, HubportPort) and port.options.hubid == number


def hub_number(hub: Hub | None) -> int:
    """The number of a hub of QEMU's; -1 for none, and for hubs that have no number."""
    digits = hub.name.removeprefix("hub") if hub else ""
    return int(digits) if digits.isdecimal() else -1


def port_text(port: Port) -> str:
    """A port as a back end. Ours have one queue."""
    return f"{port.id}: index=0,type={port.kind},{port_info(port)}\n"


def port_info(port: Port) -> str:
    """What QEMU says of a back end of this kind."""
    if isinstance(port, UserPort):
        restrict = "on" if port.options.restrict else "off"
        return f"net={network_name(port)},restrict={restrict}"
    if isinstance(port, PeerPort):
        return port.state
    if isinstance(port, TapPort):
        return f"ifname={port.device}"
    return ""


def network_name(port: UserPort) -> str:
    """The address of the IPv4 network, else that of the IPv6 one."""
    plan = port.options.ipv4 or port.options.ipv6
    assert plan, "one family is there"
    return str(plan.net.network_address)


def usernet_text(ports: Sequence[UserPort]) -> str:
    """The forwards of every user network. The queues and the descriptor are the worker's, and read 0."""
    return "".join(
        f"Hub {hub_number(port.hub)} ({port.id}):\n{USERNET_HEAD}{forward_lines(port.forwards)}"
        for port in ports
    )


def forward_lines(forwards: Sequence[HostForward]) -> str:
    """A line for every port of every forward."""
    return "".join(forward_line(forward, number) for forward in forwards for number in range(forward.ports))


def forward_line(forward: HostForward, number: int) -> str:
    """The port of that number of a forward, as a line of the table. A unix socket has its path and port 0."""
    state = f"  {'UDP' if forward.proto == 'udp' else 'TCP'}[HOST_FORWARD]"
    host = "*" if forward.host_addr == ANY_ADDRESS else str(forward.host_addr)
    host_port = 0 if forward.proto == "unix" else forward.host_port + number
    ends = f"{host:>15} {host_port:5} {forward.guest_addr!s:>15} {forward.guest_port + number:5}"
    return f"{state:<19} {0:3} {ends} {0:5} {0:5}\n"
