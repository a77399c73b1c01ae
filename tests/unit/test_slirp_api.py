"""slirp4netns' three commands on a socket of their own."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lab import lab, user
from wirebay.control import slirp
from wirebay.control.slirp import MAX_REQUEST, slirp_api
from wirebay.errors import HostError
from wirebay.network import Network
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio

RULE = {"proto": "tcp", "host_addr": "127.0.0.1", "guest_addr": "10.0.2.100", "guest_port": 80}


@pytest.fixture
async def network(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Network]:
    async with lab() as (network, _), slirp_api(network, str(tmp_path / "api")):
        await network.add(user())
        yield network


async def exchange(path: Path, data: bytes, *, ends: bool = True) -> Any:
    """What comes back, until the end of the connection."""
    reader, writer = await asyncio.open_unix_connection(path / "api")
    writer.write(data)
    if ends:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return json.loads(answer)


async def ask(path: Path, command: str, **arguments: object) -> Any:
    return await exchange(path, json.dumps({"execute": command, "arguments": arguments}).encode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def test_a_forward_is_added_listed_and_removed(network: Network, tmp_path: Path) -> None:
    rule = {**RULE, "host_port": free_port()}
    assert await ask(tmp_path, "add_hostfwd", **rule) == {"return": {"id": 1}}
    assert await ask(tmp_path, "list_hostfwd") == {"return": {"entries": [{"id": 1, **rule}]}}
    assert await ask(tmp_path, "remove_hostfwd", id=1) == {"return": {}}
    assert await ask(tmp_path, "list_hostfwd") == {"return": {"entries": []}}
    gone = {"error": {"desc": "bad request: remove_hostfwd: there is no forward 1"}}
    assert await ask(tmp_path, "remove_hostfwd", id=1) == gone


async def test_numbers_are_not_given_out_twice(network: Network, tmp_path: Path) -> None:
    await ask(tmp_path, "add_hostfwd", **RULE, host_port=free_port())
    await ask(tmp_path, "remove_hostfwd", id=1)
    assert await ask(tmp_path, "add_hostfwd", **RULE, host_port=free_port()) == {"return": {"id": 2}}


async def test_forwards_that_others_opened_have_numbers_too(network: Network, tmp_path: Path) -> None:
    port = network.ports["u0"]
    assert isinstance(port, UserPort)
    await port.add_forward("udp:127.0.0.1:0-:53")
    await port.add_forward(f"unix:{tmp_path}/forward-:53")
    (entry,) = (await ask(tmp_path, "list_hostfwd"))["return"]["entries"]
    assert (entry["id"], entry["proto"], entry["guest_addr"]) == (1, "udp", "10.0.2.15")
    assert await ask(tmp_path, "remove_hostfwd", id=1) == {"return": {}}


async def test_the_addresses_may_be_left_out(network: Network, tmp_path: Path) -> None:
    arguments = {"proto": "udp", "host_port": free_port(), "guest_port": 53}
    assert "return" in await ask(tmp_path, "add_hostfwd", **arguments)
    (entry,) = (await ask(tmp_path, "list_hostfwd"))["return"]["entries"]
    assert (entry["host_addr"], entry["guest_addr"]) == ("0.0.0.0", "10.0.2.15")


async def test_a_client_need_not_end_its_side(network: Network, tmp_path: Path) -> None:
    request = b'{"execute": "list_hostfwd"}'
    assert await exchange(tmp_path, request, ends=False) == {"return": {"entries": []}}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"proto": "sctp"}, "proto"),
        ({"host_addr": "localhost"}, "host_addr"),
        ({"guest_addr": ["10.0.2.15"]}, "guest_addr"),
        ({"host_port": 0}, "host_port"),
        ({"host_port": True}, "host_port"),
        ({"guest_port": "80"}, "guest_port"),
        ({"guest_port": 65536}, "guest_port"),
    ],
)
async def test_wrong_arguments_are_named(
    network: Network, tmp_path: Path, arguments: dict[str, object], wrong: str
) -> None:
    answer = await ask(tmp_path, "add_hostfwd", **{**RULE, "host_port": 1, **arguments})
    assert answer == {"error": {"desc": f"bad request: add_hostfwd: bad arguments.{wrong}"}}


@pytest.mark.parametrize(
    "request_", [b"", b"{", b"[]", b"5", b"\xff", b'{"execute": "quit"}', b'{"arguments": 5}', b"x" * 9000]
)
async def test_what_is_no_request_is_answered_with_an_error(
    network: Network, tmp_path: Path, request_: bytes
) -> None:
    assert set((await exchange(tmp_path, request_))["error"]) == {"desc"}


async def test_what_the_host_refuses_is_told(network: Network, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = await ask(tmp_path, "add_hostfwd", **RULE, host_port=taken.getsockname()[1])
    assert "Address already in use" in answer["error"]["desc"]


async def test_a_client_that_says_nothing_is_let_go(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slirp, "PATIENCE", 0.01)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "api")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_no_client_can_hold_more_than_a_request(network: Network, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "api")
    writer.write(b'{"x": "' + b"y" * (2 * MAX_REQUEST))
    answer = json.loads(await asyncio.wait_for(reader.read(), 10))
    assert "error" in answer
    writer.close()


async def test_without_a_user_network_there_is_nothing_to_forward_to(tmp_path: Path) -> None:
    async with lab() as (network, _), slirp_api(network, str(tmp_path / "api")):
        answer = await ask(tmp_path, "add_hostfwd", **RULE, host_port=1)
        assert answer == {"error": {"desc": "bad request: there is no user network"}}


async def test_a_place_that_is_taken_names_the_option(network: Network, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"^--api-socket {tmp_path}/api: another process listens there$"):
        async with slirp_api(network, str(tmp_path / "api")):
            pass
