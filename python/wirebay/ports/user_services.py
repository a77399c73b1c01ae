"""The services of a user network beside DHCP: DNS, TFTP, SMB and guestfwd, opened as the options say.

What not every network has is imported when it is opened, so that the start stays fast.

Each is registered twice: with the worker (`service_add`), which then answers ARP and NDP for its address and
brings its packets, and here, on the service channel (UDP) or with `TcpServices`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from wirebay.options.types import Address, Plan4, Plan6, UserOptions
from wirebay.ports.guest_forwards import GuestForwards
from wirebay.services import dns
from wirebay.services.channel import Handler, ServiceChannel
from wirebay.services.dns import DnsService
from wirebay.services.dns_names import Guests, LocalNames
from wirebay.services.tcp import CallWorker, TcpServices
from wirebay.teardown import Teardown

__all__ = ["UserServices", "plans"]

# Runs a function with its arguments until the port closes; the first argument is what the log calls it.
Run = Callable[..., None]


class UserServices:
    """The services of one user network; `tcp` takes the worker's `service_connect`.

    `call` sends a command to the worker, `run` starts a task of the port, `guests` gives the guests' names.
    """

    def __init__(
        self, options: UserOptions, channel: ServiceChannel, call: CallWorker, run: Run, guests: Guests
    ) -> None:
        self.tcp = TcpServices(call, options.id)
        self.guest_forwards = GuestForwards(options, channel, call, self.tcp)
        self._options = options
        self._channel = channel
        self._call = call
        self._run = run
        self._dns = DnsService(options.id, local_names(options, guests), options.mtu, channel)
        self._teardown = Teardown()
        self._drops: dict[str, Counter[str]] = {"dns": self._dns.drops, "tcp_service": self.tcp.drops}

    async def open(self) -> None:
        """Open what the options ask for. Raises WirebayError; `close` undoes what there is by then."""
        self._teardown.add(self.tcp.close)
        if not self._options.restrict:
            await self._open_dns()
        if self._options.tftp is not None:
            await self._open_tftp(self._options.tftp)
        if self._options.smb is not None:
            await self._open_smb(self._options.smb)
        self._teardown.add(self.guest_forwards.close)
        for rule in self._options.guestfwd:
            await self.guest_forwards.add(rule)

    async def set_servers(self, servers: Iterable[Address]) -> None:
        """The host's DNS servers from now on, best first."""
        await self._dns.set_servers(servers)

    def drops(self) -> dict[str, int]:
        """What the services did not answer, by reason."""
        drops = {
            f"{name}_{reason}": count
            for name, drops in self._drops.items()
            for reason, count in drops.items()
        }
        return drops | self.guest_forwards.drops()

    async def close(self) -> None:
        """End the services on this side; the worker's goes with the port. Raises what failed, at the end."""
        errors = await self._teardown.run()
        if errors:
            raise errors[0]

    async def _open_dns(self) -> None:
        self._teardown.add(self._dns.close)
        for plan in plans(self._options):
            await self._add_udp("dns", plan.dns, dns.PORT, self._dns.handle)
            name = f"dns/tcp/{plan.dns}"
            await self.tcp.add(name, "DNS over TCP", plan.dns, dns.PORT, self._dns.connect)

    async def _open_tftp(self, directory: str) -> None:
        from wirebay.services import tftp

        server = tftp.TftpServer(tftp.files_below(directory), self._options.mtu)
        self._drops["tftp"] = server.drops
        hosts = [plan.host for plan in plans(self._options)]
        self._run("TFTP", tftp.serve_tftp, self._channel, server, hosts)
        for host in hosts:
            await self._tell_worker("tftp", host, tftp.PORT)

    async def _open_smb(self, directory: str) -> None:
        from wirebay.services import smb

        server = smb.SmbServer(directory)
        self._teardown.add(server.close)
        assert self._options.smbserver, "filled in with smb"
        for port in smb.PORTS:
            name = f"smb/tcp/{port}"
            await self.tcp.add(name, f"SMB of '{directory}'", self._options.smbserver, port, server.connect)

    async def _add_udp(self, name: str, addr: Address, port: int, handler: Handler) -> None:
        self._channel.register(addr, port, handler)
        await self._tell_worker(name, addr, port)

    async def _tell_worker(self, name: str, addr: Address, port: int) -> None:
        members = {"proto": "udp", "addr": str(addr), "service_port": port}
        service = f"{name}/udp/{addr}/{port}"
        await self._call("service_add", port=self._options.id, service=service, **members)


def plans(options: UserOptions) -> list[Plan4 | Plan6]:
    """The families that the network has."""
    return [plan for plan in (options.ipv4, options.ipv6) if plan is not None]


def local_names(options: UserOptions, guests: Guests) -> LocalNames:
    """The names that the network's DNS server knows by itself."""
    domain = () if options.domainname is None else (options.domainname,)
    return LocalNames(
        host=[plan.host for plan in plans(options)],
        networks=[plan.net for plan in plans(options)],
        guests=guests,
        domains=(*domain, *options.dnssearch),
        records=options.host_records,
    )
