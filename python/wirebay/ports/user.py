"""user: a network of its own behind address translation, with DHCP and DNS; QEMU's `-netdev user`.

The worker translates. Python does what happens once: DHCP, as a service behind a channel of datagrams; the
list of the host's resolvers, followed as it changes; and the listening sockets of `hostfwd`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from wirebay.errors import OptionError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.types import HostForward, UserOptions
from wirebay.ports.base import Port
from wirebay.ports.forwards import describe_forward, endpoint_text, find_forward, open_forward
from wirebay.ports.guests import PAYLOAD, PING_TIMEOUT, Lease, Pinger, Pong, checked_address, mac_text
from wirebay.services.dhcp import DhcpConfig, DhcpServer, serve_dhcp
from wirebay.services.resolver import follow_resolvers, read_resolvers

if TYPE_CHECKING:
    from wirebay.network import Network


class UserPort(Port):
    """A user network; `forwards` are its hostfwd rules with the host ports that are really open."""

    kind = "user"

    def __init__(self, network: Network, options: UserOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self._dhcp = DhcpServer(dhcp_config(options))
        self._dhcp.on_lease = self._tell_lease
        self._pinger = Pinger(self.id)
        self._forwards: dict[str, HostForward] = {}

    @property
    def forwards(self) -> tuple[HostForward, ...]:
        """The open forwards; a host port given as 0 reads as the one that the kernel picked."""
        return tuple(self._forwards.values())

    def describe(self) -> str:
        """One line for people: the network and its forwards."""
        forwards = "".join(f", {describe_forward(forward)}" for forward in self.forwards)
        return f"{self.id}: user network {self.options.net}{forwards}"

    def service_drops(self) -> dict[str, int]:
        """What the DHCP server did not answer, by reason."""
        return {f"dhcp_{reason}": count for reason, count in self._dhcp.drops.items()}

    async def open(self) -> None:
        """Start the network with its services. Raises HostError when a forward's address cannot be had."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._teardown.add(ours.close)
        ours.setblocking(False)
        with theirs:
            await self._add_to_worker("user_add", fds=[theirs.fileno()], **worker_options(self.options))
        await self._start_services(ours)
        for rule in self.options.hostfwd:
            await self.add_forward(rule)

    async def _start_services(self, channel: socket.socket) -> None:
        self._run("DHCP", serve_dhcp, channel, self._dhcp)
        # Once here, so that names resolve from the first packet on.
        await self._tell_resolvers(read_resolvers())
        self._run("following the host's resolvers", follow_resolvers, self._tell_resolvers)

    async def _tell_resolvers(self, servers: Sequence[IPv4Address | IPv6Address]) -> None:
        texts = [str(server) for server in servers]
        await self.network.worker.call("user_resolvers", port=self.id, servers=texts)

    async def add_forward(self, rule: HostForward | str) -> HostForward:
        """Open a forward, given as QEMU's `hostfwd=` value or parsed; returns it with the real host port.

        Raises OptionError for a malformed rule, HostError when the host address cannot be had.
        """
        sock, forward = open_forward(parse_hostfwd(rule) if isinstance(rule, str) else rule)
        forward = replace(forward, guest_addr=forward.guest_addr or self.options.dhcpstart)
        name = f"{self.id}/{endpoint_text(forward)}"
        with sock:
            await self.network.worker.call(
                "forward_add",
                fds=[sock.fileno()],
                port=self.id,
                forward=name,
                proto=forward.proto,
                guest=str(forward.guest_addr),
                guest_port=forward.guest_port,
            )
        self._forwards[name] = forward
        return forward

    async def remove_forward(self, rule: HostForward | str) -> None:
        """Close a forward, named as it was added, as `forwards` has it, or by `[tcp|udp]:[hostip]:hostport`.

        TCP connections go on, UDP ends. Raises OptionError when there is no such forward.
        """
        name = find_forward(self._forwards, rule)
        await self.network.worker.call("forward_remove", port=self.id, forward=name)
        del self._forwards[name]

    def leases(self) -> tuple[Lease, ...]:
        """The DHCP leases in force."""
        now = time.monotonic()
        return tuple(
            Lease(mac_text(mac), address, until - now) for address, mac, until in self._dhcp.leases(now)
        )

    def _tell_lease(self, mac: bytes, address: IPv4Address) -> None:
        data = {"netdev-id": self.id, "mac": mac_text(mac), "address": str(address)}
        self.network.tell("WIREBAY_LEASE", data)

    async def ping(
        self, address: str | None = None, *, within: float = PING_TIMEOUT, size: int = PAYLOAD
    ) -> Pong:
        """Ping a guest from the network's host address, with `size` bytes.

        Without `address` the one guest with a lease is meant; without any lease, the first address that DHCP
        would give out. Raises OptionError for a wrong address, or none where several guests have a lease;
        NoAnswerError (a HostError) when no answer comes `within` so many seconds.
        """
        target = self._only_guest() if address is None else checked_address(address)
        return await self._pinger.ping(self.network.worker, target, within, size)

    def _only_guest(self) -> str:
        guests = [str(lease.address) for lease in self.leases()]
        if len(guests) > 1:
            raise OptionError(f"user network '{self.id}' has several guests; name one of {', '.join(guests)}")
        return guests[0] if guests else str(self.options.dhcpstart)

    def on_event(self, event: dict[str, Any]) -> None:
        """`pong`: a guest answered a ping."""
        if event["event"] == "pong":
            self._pinger.on_pong(event)


def dhcp_config(options: UserOptions) -> DhcpConfig:
    """What the DHCP server tells the guests."""
    return DhcpConfig(
        net=options.net,
        host=options.host,
        dns=options.dns,
        first=options.dhcpstart,
        hostname=options.hostname,
        mtu=options.mtu,
        restrict=options.restrict,
    )


def worker_options(options: UserOptions) -> dict[str, object]:
    """The members of `user_add` (docs/protocol.md)."""
    return {
        "net": str(options.net.network_address),
        "prefix": options.net.prefixlen,
        "host": str(options.host),
        "dns": str(options.dns),
        "mtu": options.mtu,
        "restrict": options.restrict,
        "host_loopback": options.host_loopback,
    }
