"""slirp4netns' API socket: three commands, each on a connection of its own.

A client connects, sends one JSON object and shuts its sending side down; the answer is one object, and the
connection ends. There is no greeting and nothing to negotiate. Programs that drive slirp4netns, as podman
does, so find what they know. Source: slirp4netns(1), "API SOCKET", and slirp4netns 1.2 observed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from wirebay.control.message import BadMessageError, Splitter
from wirebay.control.place import Place, listening_at, stranger
from wirebay.errors import OptionError, WirebayError
from wirebay.network import Network
from wirebay.options.grammar import parse_json
from wirebay.options.types import HostForward
from wirebay.ports.forwards import endpoint_text
from wirebay.ports.user import UserPort

__all__ = ["SlirpApi", "slirp_api"]

MAX_CLIENTS = 16
MAX_REQUEST = 4096  # bytes, as slirp4netns
PATIENCE = 10.0  # seconds for a request to come, and for its answer to be read
PORTS = range(1, 1 << 16)

logger = logging.getLogger("wirebay")


@contextlib.asynccontextmanager
async def slirp_api(network: Network, place: Place) -> AsyncIterator[None]:
    """Inside the context the commands are served at `place`.

    Raises OptionError for a path that is too long, HostError when the place is taken or cannot be had.
    """
    with listening_at(place, "--api-socket") as listener:
        server = _Server(SlirpApi(network))
        listening = await asyncio.start_unix_server(server.serve, sock=listener)
        try:
            yield
        finally:
            listening.close()
            await server.close()


class SlirpApi:
    """The commands. Forwards are known by numbers, which are given out when one is opened or listed."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._numbers: dict[tuple[str, str], int] = {}
        self._last = 0

    async def answer(self, message: bytes) -> dict[str, Any]:
        """The reply to one request. Never raises for what a client sent."""
        try:
            request = parse_json(message.decode())
            return {"return": await self._execute(request)}
        except UnicodeDecodeError:
            return failure("bad request: not UTF-8")
        except WirebayError as error:
            return failure(f"bad request: {error}")

    async def _execute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arguments = request.get("arguments", {})
        if not isinstance(arguments, dict):
            raise OptionError("'arguments' is not an object")
        match request.get("execute"):
            case "add_hostfwd":
                return await self._add(arguments)
            case "list_hostfwd":
                return {"entries": self._entries()}
            case "remove_hostfwd":
                return await self._remove(arguments)
            case other:
                raise OptionError(f"unknown command {json.dumps(other)}")

    async def _add(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        port = self._user()
        return {"id": self._number(port, await port.add_forward(read_rule(arguments)))}

    async def _remove(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        wanted = arguments.get("id")
        for port, forward in self._forwards():
            if self._number(port, forward) == wanted:
                await port.remove_forward(forward)
                return {}
        raise OptionError(f"remove_hostfwd: there is no forward {json.dumps(wanted)}")

    def _entries(self) -> list[dict[str, Any]]:
        return [{"id": self._number(port, forward), **entry(forward)} for port, forward in self._forwards()]

    def _forwards(self) -> list[tuple[UserPort, HostForward]]:
        """Those that its clients can be told of: they know ports, not paths."""
        return [
            (port, forward)
            for port in self._network.ports.values()
            if isinstance(port, UserPort)
            for forward in port.forwards
            if forward.proto != "unix"
        ]

    def _number(self, port: UserPort, forward: HostForward) -> int:
        """The number of a forward; those that are closed lose theirs, and none is given out twice."""
        open_now = {(port.id, endpoint_text(forward)) for port, forward in self._forwards()}
        self._numbers = {name: number for name, number in self._numbers.items() if name in open_now}
        name = (port.id, endpoint_text(forward))
        if name not in self._numbers:
            self._last += 1
            self._numbers[name] = self._last
        return self._numbers[name]

    def _user(self) -> UserPort:
        for port in self._network.ports.values():
            if isinstance(port, UserPort):
                return port
        raise OptionError("there is no user network")


def read_rule(arguments: Mapping[str, Any]) -> HostForward:
    """The rule that `add_hostfwd` means. Raises OptionError."""
    proto = arguments.get("proto")
    if proto not in ("tcp", "udp"):
        raise OptionError("add_hostfwd: bad arguments.proto")
    host = read_address(arguments, "host_addr") or IPv4Address(0)
    guest = read_address(arguments, "guest_addr")
    host_port, guest_port = read_port(arguments, "host_port"), read_port(arguments, "guest_port")
    return HostForward(
        proto=proto,
        host_addr=host,
        host_port=host_port,
        guest_addr=guest,
        guest_port=guest_port,
        text=f"{proto}:{host}:{host_port}-{guest or ''}:{guest_port}",
    )


def read_address(arguments: Mapping[str, Any], name: str) -> IPv4Address | None:
    """An address; the one that stands for any is as good as none."""
    try:
        address = IPv4Address(arguments.get(name) or "0.0.0.0")  # noqa: S104 - what clients may say
    except (AddressValueError, TypeError):
        raise OptionError(f"add_hostfwd: bad arguments.{name}") from None
    return None if address == IPv4Address(0) else address


def read_port(arguments: Mapping[str, Any], name: str) -> int:
    """A port."""
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value not in PORTS:
        raise OptionError(f"add_hostfwd: bad arguments.{name}")
    return value


def entry(forward: HostForward) -> dict[str, Any]:
    """A forward as `list_hostfwd` has it; of a range the first port."""
    return {
        "proto": forward.proto,
        "host_addr": str(forward.host_addr),
        "host_port": forward.host_port,
        "guest_addr": str(forward.guest_addr),
        "guest_port": forward.guest_port,
    }


def failure(sentence: str) -> dict[str, Any]:
    """The reply to a request that was refused."""
    return {"error": {"desc": sentence}}


class _Server:
    """The connections."""

    def __init__(self, api: SlirpApi) -> None:
        self._api = api
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: socket.socket = writer.get_extra_info("socket")
        who = stranger(peer)
        if who or len(self._tasks) >= MAX_CLIENTS:
            if who:
                logger.warning("%s was turned away from the API socket", who)
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    message = await receive(reader)
                writer.write(json.dumps(await self._api.answer(message)).encode())
                async with asyncio.timeout(PATIENCE):
                    await writer.drain()
        finally:
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def receive(reader: asyncio.StreamReader) -> bytes:
    """One request: an object, or all there is until the client's end. Not more than MAX_REQUEST bytes."""
    splitter, seen = Splitter(), b""
    while len(seen) <= MAX_REQUEST and (data := await reader.read(MAX_REQUEST)):
        seen += data
        with contextlib.suppress(BadMessageError):
            for message in splitter.feed(data):
                return message
    return seen[:MAX_REQUEST]
