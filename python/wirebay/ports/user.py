"""user: a network of its own behind address translation, with its services; QEMU's `-netdev user`.

The worker translates. Python does what happens once: the services (DHCP and DHCPv6 here, the others in
user_services.py) behind a channel of datagrams; the list of the host's resolvers, followed as it changes; and
the sockets of `hostfwd`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wirebay.errors import OptionError, WirebayError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.types import Address, HostForward, Plan4, Plan6, UserOptions
from wirebay.options.user import search_domains
from wirebay.ports.base import Port, logger
from wirebay.ports.flows import FlowPage, read_page
from wirebay.ports.forwards import (
    OpenForward,
    describe_forward,
    endpoint_text,
    find_forward,
    open_forward,
    resolve,
)
from wirebay.ports.guest_forwards import GuestForwards
from wirebay.ports.guests import PAYLOAD, PING_TIMEOUT, Guests, Pong
from wirebay.ports.proxied import ProxiedForwards
from wirebay.ports.rules import change_rules
from wirebay.ports.user_services import UserServices, plans
from wirebay.reach import has_way
from wirebay.services.address_service import AddressService
from wirebay.services.channel import ServiceChannel
from wirebay.services.resolver import follow_resolvers, read_resolvers

if TYPE_CHECKING:
    from wirebay.network import Network


class UserPort(Port):
    """A user network.

    `forwards` are its hostfwd rules with the host ports that are really open, `addresses` its DHCP and DHCPv6
    servers with the leases and the names of the guests, `channel` where services in Python meet its guests.
    """

    kind = "user"

    def __init__(self, network: Network, options: UserOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self.addresses = AddressService(options)
        self._guests = Guests(self, self.addresses)
        self._forwards: dict[str, OpenForward] = {}
        self._proxied = ProxiedForwards(self._call_worker, self.id)

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
        channel = {f"service_{reason}": count for reason, count in self.channel.drops.items()}
        proxied = {f"proxy_{reason}": count for reason, count in self._proxied.drops.items()}
        return channel | self.addresses.drops() | self._services.drops() | proxied

    def on_event(self, event: dict[str, Any]) -> None:
        """A guest connects to a service, or answers a ping."""
        if event["event"] == "service_connect":
            self._services.tcp.on_event(event)
        elif event["event"] == "pong":
            self._guests.on_pong(event)

    async def open(self) -> None:
        """Start the network with its services. Raises HostError when a forward's address cannot be had."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = ServiceChannel(ours)
        self._teardown.add(self.channel.close)
        self._services = UserServices(
            self.options, self.channel, self._call_worker, self._run, self.addresses.names
        )
        with theirs:
            await self._add_to_worker("user_add", fds=[theirs.fileno()], **worker_options(self.options))
        await self._start_services()
        self._teardown.add(self._proxied.close)
        for rule in self.options.hostfwd:
            await self._open_forward(rule, self.addresses.first_address)
        self._tell_ways()

    def _tell_ways(self) -> None:
        """One sentence for a family that ends at this host."""
        for plan in plans(self.options):
            if not self.options.restrict and not has_way(plan.net.version):
                reason = f"this host has no way out over IPv{plan.net.version}, and so its guests have none"
                logger.info("user network '%s': %s", self.id, reason)

    async def _start_services(self) -> None:
        self.addresses.start(self.channel)
        self._teardown.add(self.addresses.close)
        self._teardown.add(self._services.close)
        self._run("the service channel", self.channel.serve)
        await self._services.open()
        # Once here, so that names resolve from the first packet on.
        await self._tell_resolvers(read_resolvers())
        self._run("following the host's resolvers", follow_resolvers, self._tell_resolvers)

    async def _tell_resolvers(self, servers: Sequence[Address]) -> None:
        await self._services.set_servers(servers)
        texts = [str(server) for server in servers]
        await self._call_worker("user_resolvers", port=self.id, servers=texts)

    async def _call_worker(self, cmd: str, *, fds: Sequence[int] = (), **members: object) -> object:
        return await self.network.worker.call(cmd, fds=fds, **members)

    async def add_forward(self, rule: HostForward | str) -> HostForward:
        """Open a forward, given as a `hostfwd=` value or parsed; returns it with the real host port.

        A rule that names no guest is for the only one, or for the first to come. Names are resolved now: that
        of a guest first among the guests. Raises OptionError for a malformed rule, or a guest that cannot be;
        HostError when the host address cannot be had.
        """
        rule = parse_hostfwd(rule) if isinstance(rule, str) else rule
        return await self._open_forward(rule, self._only_guest(rule))

    async def _open_forward(self, rule: HostForward, default: Address) -> HostForward:
        guest = await self._guest_address(rule, default)
        forward = await open_forward(replace(rule, guest_addr=guest))
        name = f"{self.id}/{endpoint_text(forward.rule)}"
        try:
            await self._hand_over(forward, name)
        except BaseException:
            forward.undo()
            raise
        finally:
            forward.close()
        self._forwards[name] = forward
        self.addresses.expect_forwards()
        self._teardown.add(forward.undo)
        return forward.rule

    @property
    def guest_forwards(self) -> GuestForwards:
        """The guestfwd rules, which can be opened and closed while the network runs."""
        return self._services.guest_forwards

    async def _hand_over(self, forward: OpenForward, name: str) -> None:
        """Give the sockets of a forward to the worker, all or none."""
        if forward.is_proxied:
            self._proxied.start(forward, name)
            return
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
        if forward.is_proxied:
            await self._proxied.stop(name)
        else:
            await self._take_back(name, forward.rule.ports)
        forward.undo()

    async def change_forwards(self, options: UserOptions) -> None:
        """Make the forwards be those of `options`, which are this port's otherwise.

        Rules that stay are not touched. When one of the new ones cannot be opened, everything is as before;
        raises as `add_forward` does.
        """
        await self._change_hostfwd(self.options.hostfwd, options.hostfwd)
        guest = self.guest_forwards
        try:
            await change_rules(self.options.guestfwd, options.guestfwd, guest.add, guest.remove)
        except WirebayError:
            await self._change_hostfwd(options.hostfwd, self.options.hostfwd)
            raise
        self.options = options

    async def _change_hostfwd(self, old: Sequence[HostForward], new: Sequence[HostForward]) -> None:
        first = self.addresses.first_address
        await change_rules(old, new, lambda rule: self._open_forward(rule, first), self.remove_forward)

    def _only_guest(self, rule: HostForward) -> Address:
        """Where a rule without guest leads to. Raises OptionError if it names none and there are several."""
        guests = list(self.addresses.guests().values())
        if len(guests) > 1 and rule.guest_addr is None:
            several = ", ".join(map(str, guests))
            raise OptionError(
                f"Invalid host forwarding rule '{rule.text}' (Missing guest address: there are {several})"
            )
        return guests[0] if guests else self.addresses.first_address

    async def _guest_address(self, rule: HostForward, default: Address) -> Address:
        """Where a rule leads to. Raises OptionError for an address of a family that the network has not."""
        addr = rule.guest_addr
        if addr is None:
            return default
        if isinstance(addr, str):
            known = self.addresses.names().get(addr.lower())
            addr = known[0] if known else await resolve(addr, rule)
        if (self.options.ipv4 if addr.version == 4 else self.options.ipv6) is None:
            raise OptionError(
                f"Invalid host forwarding rule '{rule.text}' (the network has no IPv{addr.version})"
            )
        return addr

    async def flows(self, start: int = 0, limit: int = 256) -> FlowPage:
        """At most `limit` of the conversations that cross here, from the place that a page before told.

        A flow that lives all the while is on one page, once. One page has at most 256.
        """
        return read_page(await self.network.worker.call("flows", port=self.id, first=start, limit=limit))

    async def ping(
        self, address: str | None = None, *, within: float = PING_TIMEOUT, size: int = PAYLOAD
    ) -> Pong:
        """Ping a guest from the network's host address, with `size` bytes.

        Without `address` the one guest with a lease is meant; without any lease, the first address that a
        guest would get. Raises OptionError for a wrong address, or none where several guests have a lease;
        NoAnswerError (a HostError) when no answer comes `within` so many seconds.
        """
        return await self._guests.ping(address, within, size)


def worker_name(name: str, number: int) -> str:
    """What the worker calls the socket `number` of a forward."""
    return f"{name}+{number}" if number else name


def worker_options(options: UserOptions) -> dict[str, object]:
    """The members of `user_add` (docs/protocol.md)."""
    return {
        "mtu": options.mtu,
        "restrict": options.restrict,
        "host_loopback": options.host_loopback,
        "ipv4": _worker_plan(options.ipv4),
        "ipv6": _worker_plan(options.ipv6),
        "dnssl": list(search_domains(options)),
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
