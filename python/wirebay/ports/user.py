"""user: a network of its own behind address translation, with its services; QEMU's `-netdev user`.

The worker translates. Python does what happens once: the services (DHCP and DHCPv6 here, the others where
`services` has them) behind a channel of datagrams; the list of the host's resolvers, followed as it changes;
and the sockets of `hostfwd`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wirebay.errors import HostError, OptionError, WirebayError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.types import Address, HostForward, Plan4, Plan6, UserOptions
from wirebay.ports.base import Port
from wirebay.ports.forwards import (
    OpenForward,
    describe_forward,
    endpoint_text,
    find_forward,
    open_forward,
    resolve,
)
from wirebay.services.channel import ServiceChannel
from wirebay.services.dhcp import SERVER_PORT, DhcpConfig, DhcpServer, dhcp_handler
from wirebay.services.resolver import follow_resolvers, read_resolvers

if TYPE_CHECKING:
    from wirebay.network import Network


class UserPort(Port):
    """A user network; `forwards` are its hostfwd rules with the host ports that are really open."""

    kind = "user"

    def __init__(self, network: Network, options: UserOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self._dhcp = DhcpServer(dhcp_config(options, options.ipv4)) if options.ipv4 else None
        self._forwards: dict[str, OpenForward] = {}

    @property
    def forwards(self) -> tuple[HostForward, ...]:
        """The open forwards; a host port given as 0 reads as the one that the kernel picked."""
        return tuple(forward.rule for forward in self._forwards.values())

    def describe(self) -> str:
        """One line for people: the network and its forwards."""
        plans = (self.options.ipv4, self.options.ipv6)
        networks = " and ".join(str(plan.net) for plan in plans if plan)
        forwards = "".join(f", {describe_forward(forward)}" for forward in self.forwards)
        return f"{self.id}: user network {networks}{forwards}"

    def service_drops(self) -> dict[str, int]:
        """What the services did not answer, by reason."""
        drops = {f"service_{reason}": count for reason, count in self.channel.drops.items()}
        if self._dhcp:
            drops |= {f"dhcp_{reason}": count for reason, count in self._dhcp.drops.items()}
        return drops

    async def open(self) -> None:
        """Start the network with its services. Raises HostError when a forward's address cannot be had."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = ServiceChannel(ours)
        self._teardown.add(self.channel.close)
        with theirs:
            await self._add_to_worker("user_add", fds=[theirs.fileno()], **worker_options(self.options))
        await self._start_services()
        for rule in self.options.hostfwd:
            await self.add_forward(rule)

    async def _start_services(self) -> None:
        if self._dhcp:
            self.channel.register(None, SERVER_PORT, dhcp_handler(self._dhcp))
        self._run("the service channel", self.channel.serve)
        # Once here, so that names resolve from the first packet on.
        await self._tell_resolvers(read_resolvers())
        self._run("following the host's resolvers", follow_resolvers, self._tell_resolvers)

    async def _tell_resolvers(self, servers: Sequence[Address]) -> None:
        texts = [str(server) for server in servers]
        await self.network.worker.call("user_resolvers", port=self.id, servers=texts)

    async def add_forward(self, rule: HostForward | str) -> HostForward:
        """Open a forward, given as a `hostfwd=` value or parsed; returns it with the real host port.

        Names are resolved now: that of a guest first among the guests. Raises OptionError for a malformed
        rule or a guest that cannot be, HostError when the host address cannot be had.
        """
        rule = parse_hostfwd(rule) if isinstance(rule, str) else rule
        forward = await open_forward(replace(rule, guest_addr=await self._guest_address(rule)))
        name = f"{self.id}/{endpoint_text(forward.rule)}"
        try:
            await self._hand_over(forward, name)
        except BaseException:
            forward.undo()
            raise
        finally:
            forward.close()
        self._forwards[name] = forward
        self._teardown.add(forward.undo)
        return forward.rule

    async def _hand_over(self, forward: OpenForward, name: str) -> None:
        """Give the sockets of a forward to the worker, all or none."""
        if forward.is_proxied:
            # Here Python accepts, and hands each connection over by `forward_accept`.
            raise HostError(f"Could not set up host forwarding rule '{forward.rule.text}': no PROXY protocol")
        given = 0
        try:
            for sock in forward.sockets:
                await self._give(sock, forward.rule, name, given)
                given += 1
        except WirebayError:
            await self._take_back(name, given)
            raise

    async def _give(self, sock: socket.socket, rule: HostForward, name: str, number: int) -> None:
        await self.network.worker.call(
            "forward_add",
            fds=[sock.fileno()],
            port=self.id,
            forward=worker_name(name, number),
            proto="udp" if rule.proto == "udp" else "tcp",
            guest=str(rule.guest_addr),
            guest_port=rule.guest_port + number,
        )

    async def _take_back(self, name: str, ports: int) -> None:
        for number in range(ports):
            await self.network.worker.call("forward_remove", port=self.id, forward=worker_name(name, number))

    async def remove_forward(self, rule: HostForward | str) -> None:
        """Close a forward, named as it was added, as `forwards` has it, or by `[tcp|udp]:[hostip]:hostport`.

        TCP connections go on, UDP ends. Raises OptionError when there is no such forward.
        """
        name = find_forward(self._forwards, rule)
        forward = self._forwards.pop(name)
        for number in range(forward.rule.ports):
            await self.network.worker.call("forward_remove", port=self.id, forward=worker_name(name, number))
        forward.undo()

    async def _guest_address(self, rule: HostForward) -> Address:
        """Where a rule leads to. Raises OptionError for an address of a family that the network has not."""
        addr = rule.guest_addr
        if addr is None:
            return self._first_guest()
        if isinstance(addr, str):
            addr = await resolve(addr, rule)
        if (self.options.ipv4 if addr.version == 4 else self.options.ipv6) is None:
            raise OptionError(
                f"Invalid host forwarding rule '{rule.text}' (the network has no IPv{addr.version})"
            )
        return addr

    def _first_guest(self) -> Address:
        """The address that the first guest gets."""
        ipv4, ipv6 = self.options.ipv4, self.options.ipv6
        if ipv4:
            return ipv4.dhcpstart
        assert ipv6, "one family is there"
        return ipv6.net[0x15]


def worker_name(name: str, number: int) -> str:
    """What the worker calls the socket `number` of a forward."""
    return f"{name}+{number}" if number else name


def dhcp_config(options: UserOptions, plan: Plan4) -> DhcpConfig:
    """What the DHCP server tells the guests."""
    return DhcpConfig(
        net=plan.net,
        host=plan.host,
        dns=plan.dns,
        first=plan.dhcpstart,
        hostname=options.hostname,
        mtu=options.mtu,
        restrict=options.restrict,
    )


def worker_options(options: UserOptions) -> dict[str, object]:
    """The members of `user_add` (docs/protocol.md)."""
    search = options.dnssearch or ((options.domainname,) if options.domainname else ())
    return {
        "mtu": options.mtu,
        "restrict": options.restrict,
        "host_loopback": options.host_loopback,
        "ipv4": _worker_plan(options.ipv4),
        "ipv6": _worker_plan(options.ipv6),
        "dnssl": list(search),
    }


def _worker_plan(plan: Plan4 | Plan6 | None) -> dict[str, object] | None:
    if plan is None:
        return None
    return {
        "net": str(plan.net.network_address),
        "prefix": plan.net.prefixlen,
        "host": str(plan.host),
        "dns": str(plan.dns),
    }
