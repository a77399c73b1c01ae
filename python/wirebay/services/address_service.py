"""DHCP and DHCPv6 of one user network together: their clock, their leases' file, and the names they learn.

The machines know no time and no file. This gives them both, logs the first time an address was asked for and
none was left, and writes the leases down, at most once a second, when one has changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from wirebay.options.types import Address, DhcpHost, Plan4, Plan6, UserOptions
from wirebay.options.user import search_domains
from wirebay.services.channel import Datagram, Handler, ServiceChannel
from wirebay.services.dhcp import SERVER_PORT, DhcpConfig, DhcpServer, dhcp_handler
from wirebay.services.dhcp6 import SERVER_PORT6, Dhcp6Config, Dhcp6Server, dhcp6_handler
from wirebay.services.lease_file import AnyBinding, LeaseFile, Remembered

__all__ = ["AddressService", "Lease"]

SAVE_DELAY = 1.0  # seconds in which changes are gathered
EXHAUSTED = "pool_exhausted"

logger = logging.getLogger("wirebay")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """An address that a guest has, for `remaining` seconds (inf: for ever); `name` is what it is called."""

    mac: bytes
    address: Address
    remaining: float
    name: str | None


class AddressService:
    """The DHCP server, the DHCPv6 server, or both, as the network has IPv4 and IPv6.

    `clock` is any, `wall` is in seconds since 1970. `on_lease` is called with every lease that is new, not
    with one that is renewed or remembered.
    """

    def __init__(
        self,
        options: UserOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._file = LeaseFile(options.leases) if options.leases else None
        self._saving: asyncio.TimerHandle | None = None
        self._was_exhausted = False
        self.on_lease: Callable[[Lease], object] = _tell_nobody
        self._known: dict[tuple[bytes, Address], float] = {}
        forwards = bool(options.hostfwd)
        self.dhcp = (
            DhcpServer(dhcp_config(options, options.ipv4), has_forwards=forwards) if options.ipv4 else None
        )
        self.dhcp6 = Dhcp6Server(dhcp6_config(options, options.ipv6)) if options.ipv6 else None

    def start(self, channel: ServiceChannel) -> None:
        """Take up the leases of the file, and serve on `channel`."""
        if self._file:
            self._restore(self._file.read(self._offset()))
            self._known = self._ends()
        if self.dhcp:
            channel.register(None, SERVER_PORT, self._watched(dhcp_handler(self.dhcp, self._clock)))
        if self.dhcp6:
            channel.register(None, SERVER_PORT6, self._watched(dhcp6_handler(self.dhcp6, self._clock)))

    def close(self) -> None:
        """Write down what has not been written yet."""
        if self._saving:
            self._saving.cancel()
            self._save()

    def expect_forwards(self) -> None:
        """Forwards lead in from now on: guests get a router even under `restrict`."""
        if self.dhcp:
            self.dhcp.has_forwards = True

    @property
    def first_address(self) -> Address:
        """What the first guest gets, if nothing was set aside or remembered."""
        if self._options.ipv4:
            return self._options.ipv4.dhcpstart
        assert self.dhcp6, "a network has one family at least"
        config = self.dhcp6.config
        return [*config.pool(), *config.reserved.values()][0]

    def guests(self) -> dict[bytes, Address]:
        """An address of every guest that has one, by MAC address; IPv4 before IPv6."""
        found: dict[bytes, Address] = {}
        for lease in self.leases:  # those of IPv4 come first
            found.setdefault(lease.mac, lease.address)
        return found

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The addresses that guests have now."""
        now = self._clock()
        return tuple(
            Lease(mac=b.client, address=b.address, remaining=b.until - now, name=b.name)
            for b in self._bindings()
            if b.until > now
        )

    def names(self) -> dict[str, tuple[Address, ...]]:
        """Names of guests and their addresses: those set aside, then those that guests gave themselves.

        A name is one guest's, the first's.
        """
        found: dict[str, tuple[Address, ...]] = {}
        owners: dict[str, bytes] = {}
        guests: list[DhcpHost | Lease] = [*self._options.dhcp_hosts, *self.leases]
        for guest in guests:
            name = (guest.name or "").lower()
            if name and owners.setdefault(name, guest.mac) == guest.mac:
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), guest.address)))
        return found

    def drops(self) -> dict[str, int]:
        """What was not answered, by reason."""
        drops: dict[str, int] = {}
        if self.dhcp:
            drops |= {f"dhcp_{reason}": count for reason, count in self.dhcp.drops.items()}
        if self.dhcp6:
            drops |= {f"dhcpv6_{reason}": count for reason, count in self.dhcp6.drops.items()}
        return drops

    def _watched(self, handler: Handler) -> Handler:
        """The handler, with a look at what it has changed."""

        def handle(datagram: Datagram) -> list[Datagram]:
            before = self._revision()
            answers = list(handler(datagram))
            if self._revision() != before:
                self._save_soon()
                self._tell_leases()
            self._tell_exhaustion()
            return answers

        return handle

    def _tell_leases(self) -> None:
        now, ended = self._clock(), -math.inf
        before, self._known = self._known, self._ends()
        for lease in self.leases:
            if before.get((lease.mac, lease.address), ended) <= now:
                self.on_lease(lease)

    def _ends(self) -> dict[tuple[bytes, Address], float]:
        """When the leases of which clients end."""
        return {(binding.client, binding.address): binding.until for binding in self._bindings()}

    def _revision(self) -> int:
        return sum(server.leases.revision for server in (self.dhcp, self.dhcp6) if server)

    def _tell_exhaustion(self) -> None:
        servers = [server for server in (self.dhcp, self.dhcp6) if server]
        if self._was_exhausted or not any(server.drops[EXHAUSTED] for server in servers):
            return
        self._was_exhausted = True
        logger.warning("user network '%s' has no address left for a guest", self._options.id)

    def _bindings(self) -> Iterator[AnyBinding]:
        if self.dhcp:
            yield from self.dhcp.leases.bindings()
        if self.dhcp6:
            yield from self.dhcp6.leases.bindings()

    def _restore(self, remembered: Remembered) -> None:
        now = self._clock()
        if self.dhcp:
            self.dhcp.leases.restore(remembered.ipv4, now)
        if self.dhcp6:
            self.dhcp6.leases.restore(remembered.ipv6, now)

    def _save_soon(self) -> None:
        if self._file and self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_DELAY, self._save)

    def _save(self) -> None:
        self._saving = None
        assert self._file
        self._file.write(self._bindings(), self._offset())

    def _offset(self) -> float:
        """What turns our time into seconds since 1970."""
        return self._wall() - self._clock()


def _tell_nobody(lease: Lease) -> None:
    del lease


def dhcp_config(options: UserOptions, plan: Plan4) -> DhcpConfig:
    """What the DHCP server tells the guests."""
    hosts = [(host.mac, host.address) for host in options.dhcp_hosts]
    return DhcpConfig(
        net=plan.net,
        host=plan.host,
        dns=plan.dns,
        first=plan.dhcpstart,
        hostname=options.hostname,
        domainname=options.domainname,
        search=options.dnssearch,
        tftp_server_name=options.tftp_server_name,
        bootfile=options.bootfile,
        mtu=options.mtu,
        restrict=options.restrict,
        reserved={mac: address for mac, address in hosts if isinstance(address, IPv4Address)},
        names=_names(options),
    )


def dhcp6_config(options: UserOptions, plan: Plan6) -> Dhcp6Config:
    """What the DHCPv6 server tells the guests."""
    hosts = [(host.mac, host.address) for host in options.dhcp_hosts]
    return Dhcp6Config(
        net=plan.net,
        host=plan.host,
        dns=plan.dns,
        search=search_domains(options),
        bootfile=options.bootfile,
        restrict=options.restrict,
        reserved={mac: address for mac, address in hosts if isinstance(address, IPv6Address)},
        names=_names(options),
    )


def _names(options: UserOptions) -> dict[bytes, str]:
    return {host.mac: host.name for host in options.dhcp_hosts if host.name}
