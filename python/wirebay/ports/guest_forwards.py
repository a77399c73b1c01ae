"""guestfwd rules of a user network, opened and closed while it runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirebay.errors import OptionError
from wirebay.options.guestfwd import default_server, parse_guestfwd
from wirebay.options.types import CommandTarget, GuestForward, UnixTarget, UserOptions
from wirebay.options.user import SMB_PORTS
from wirebay.ports.forwards import bracketed
from wirebay.services.channel import ServiceChannel
from wirebay.services.tcp import CallWorker, TcpServices

if TYPE_CHECKING:
    from wirebay.services.programs import Programs

__all__ = ["GuestForwards", "server_text", "target_text"]

_SERVER = re.compile(r"(tcp|udp|):(\[[^\]]*\]|[^:]*):([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Forward:
    """A rule, what it could not deliver, how the worker is told of it, and how it ends on this side."""

    rule: GuestForward
    drops: Counter[str]
    start: Callable[[], Awaitable[object]]
    end: Callable[[], Awaitable[None]]


class GuestForwards:
    """The rules that are open. `call` sends a command to the worker."""

    def __init__(
        self, options: UserOptions, channel: ServiceChannel, call: CallWorker, tcp: TcpServices
    ) -> None:
        self._options = options
        self._channel = channel
        self._call = call
        self._tcp = tcp
        self._open: dict[str, _Forward] = {}
        self._programs: Programs | None = None

    @property
    def rules(self) -> tuple[GuestForward, ...]:
        """The rules, in the order they were opened."""
        return tuple(forward.rule for forward in self._open.values())

    async def add(self, rule: GuestForward | str) -> GuestForward:
        """Open a rule. Raises OptionError when it is none, or its server and port are taken."""
        if isinstance(rule, str):
            rule = parse_guestfwd(rule, self._options.ipv4, self._options.ipv6, self.rules)
        name = f"guestfwd/{rule.proto}/{rule.server}/{rule.port}"
        if name in self._open or is_smb(rule, self._options):
            raise OptionError(f"Conflicting/invalid host:port in guest forwarding rule '{rule.text}'")
        make = self._tcp_rule if rule.proto == "tcp" else self._udp_rule
        forward = self._open[name] = make(name, rule)
        try:
            await forward.start()
        except BaseException:
            del self._open[name]
            await forward.end()
            raise
        return rule

    async def remove(self, rule: GuestForward | str) -> None:
        """Close a rule, named as it was added, or by `[tcp|udp]:[server]:port`; TCP connections go on.

        Raises OptionError when there is none.
        """
        name = self._find(rule)
        await self._call("service_remove", port=self._options.id, service=name)
        await self._open.pop(name).end()

    def _find(self, wanted: GuestForward | str) -> str:
        text = wanted if isinstance(wanted, str) else wanted.text
        short = self._normal_form(text)
        for name, forward in self._open.items():
            if wanted == forward.rule or text == forward.rule.text or short == server_text(forward.rule):
                return name
        raise OptionError(f"guest forwarding rule '{text}' is not open")

    def _normal_form(self, text: str) -> str:
        """`[tcp|udp]:[server]:port` with the defaults of rules filled in; other text unchanged."""
        match, ipv4 = _SERVER.fullmatch(text), self._options.ipv4
        if match is None or not (match[2] or ipv4):
            return text
        return f"{match[1] or 'tcp'}:{match[2] or default_server(ipv4)}:{match[3]}"

    def drops(self) -> dict[str, int]:
        """What did not reach a server over UDP, by reason."""
        total: Counter[str] = Counter()
        for forward in self._open.values():
            total += forward.drops
        return {f"guestfwd_{reason}": count for reason, count in total.items()}

    async def close(self) -> None:
        """End what there is for the rules on this side; the worker's side goes with the port."""
        while self._open:
            _, forward = self._open.popitem()
            await forward.end()
        if self._programs:
            await self._programs.close()

    def _tcp_rule(self, name: str, rule: GuestForward) -> _Forward:
        from wirebay.services import guestfwd, programs

        if self._programs is None:
            self._programs = programs.Programs(guestfwd.MAX_PROGRAMS)
        connect = guestfwd.connector(rule, self._programs)

        async def start() -> None:
            title = f"guest forwarding rule '{rule.text}'"
            await self._tcp.add(name, title, rule.server, rule.port, connect)

        async def end() -> None:
            self._tcp.forget(name)

        return _Forward(rule, Counter(), start, end)

    def _udp_rule(self, name: str, rule: GuestForward) -> _Forward:
        from wirebay.services.guestfwd_udp import UdpForward

        assert not isinstance(rule.target, CommandTarget), "the grammar has commands for tcp only"
        forward = UdpForward(rule, self._channel)
        self._channel.register(rule.server, rule.port, forward.handle)

        async def start() -> None:
            place = {"proto": "udp", "addr": str(rule.server), "service_port": rule.port}
            await self._call("service_add", port=self._options.id, service=name, **place)

        async def end() -> None:
            self._channel.unregister(rule.server, rule.port)
            await forward.close()

        return _Forward(rule, forward.drops, start, end)


def is_smb(rule: GuestForward, options: UserOptions) -> bool:
    """Whether the network's SMB server is there already."""
    here = options.smb is not None and (rule.proto, rule.server) == ("tcp", options.smbserver)
    return here and rule.port in SMB_PORTS


def server_text(rule: GuestForward) -> str:
    """Where guests find a rule, e.g. `tcp:10.0.2.100:7`, `udp:[fec0::7]:7`."""
    return f"{rule.proto}:{bracketed(rule.server)}:{rule.port}"


def target_text(rule: GuestForward) -> str:
    """Where a rule leads to, as rules spell it."""
    target = rule.target
    if isinstance(target, CommandTarget):
        return f"cmd:{target.command}"
    if isinstance(target, UnixTarget):
        return f"unix:{target.path}"
    return f"{rule.proto}:{f'[{target.host}]' if ':' in target.host else target.host}:{target.port}"
