"""A network under control, without a socket: requests go in, replies come out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.fake_worker import FakeWorker, Request
from tests.unit.lab import lab
from wirebay.control.commands import COMMANDS
from wirebay.control.session import Session
from wirebay.control.table import Context
from wirebay.network import Network
from wirebay.ports.user import UserPort
from wirebay.services.channel import Datagram
from wirebay.services.channel import encode as encode_datagram
from wirebay.services.dhcp import BROADCAST
from wirebay.services.dhcp_message import UNSPECIFIED, DhcpMessage, encode

REQUEST = b"\x03"  # the DHCP message


class Desk:
    """A client that has negotiated, the network it controls, and the worker behind that."""

    def __init__(self, network: Network, fake: FakeWorker) -> None:
        self.network = network
        self.fake = fake
        self._session = Session(Context(network, lambda: 12.3456), COMMANDS)
        self._session.ready = True

    async def ask(self, command: str, **arguments: object) -> Any:
        """The result of a command; `_` in arguments stands for `-`."""
        reply = await self._send(command, arguments)
        assert "error" not in reply, reply
        return reply["return"]

    async def refused(self, command: str, **arguments: object) -> str:
        """Why a command is refused, behind the class if that says something."""
        error = (await self._send(command, arguments))["error"]
        kind = "" if error["class"] == "GenericError" else f"{error['class']}: "
        return f"{kind}{error['desc']}"

    async def _send(self, command: str, arguments: dict[str, object]) -> dict[str, Any]:
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self._session.answer(json.dumps({"execute": command, "arguments": given}).encode())

    async def hmp(self, line: str) -> str:
        """The answer to a line for the human monitor."""
        answer: str = await self.ask("human-monitor-command", command_line=line)
        return answer

    async def user(self, name: str = "u0", **options: object) -> UserPort:
        """A user network."""
        port = await self.network.add("user", id=name, **options)
        assert isinstance(port, UserPort)
        return port

    def pong(self, ttl: int = 64) -> None:
        """From now on every ping is answered at once."""

        def answer(request: Request) -> dict[str, Any]:
            members = {name: request[name] for name in ("port", "addr", "ident", "seq")}
            self.fake.send({"event": "pong", "ttl": ttl, **members})
            return {"ok": {}}

        self.fake.answers["guest_ping"] = answer


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """A started network under control."""
    async with lab() as (network, fake):
        yield Desk(network, fake)


def give_lease(port: UserPort, number: int, name: str | None = None) -> None:
    """Have a guest of that number, and that name, ask for a lease over the service channel."""
    mac = bytes((0x52, 0x54, 0, 0, 0, number))
    options = {53: REQUEST} | ({12: name.encode()} if name else {})
    question = Datagram(
        mac=mac,
        source=UNSPECIFIED,
        destination=BROADCAST,
        source_port=68,
        destination_port=67,
        payload=encode(DhcpMessage(op=1, xid=7, chaddr=mac, options=options)),
    )
    port.channel._take(encode_datagram(question))
