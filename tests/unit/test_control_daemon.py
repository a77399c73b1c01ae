"""The commands about ports, flows and the process, and what can be asked of them all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control import desk
from tests.unit.fake_worker import Request
from tests.unit.lab import lab
from wirebay.control.commands import COMMANDS
from wirebay.control.events import EVENTS
from wirebay.control.introspect import introspect
from wirebay.control.server import ControlServer
from wirebay.control.session import Session
from wirebay.control.table import Context
from wirebay.errors import OptionError

pytestmark = pytest.mark.anyio


def flow(number: int, peer: str | None = "192.0.2.1") -> dict[str, Any]:
    ends = {"guest": "10.0.2.15", "guest_port": number, "peer": peer, "peer_port": peer and 80}
    return {"proto": "tcp", "state": "open", **ends, "from_guest": 1, "to_guest": 2, "age_ms": 1500}


async def test_flows_come_in_pages() -> None:
    async with desk() as client:
        await client.user()
        client.fake.answers["flows"] = lambda _: {"ok": {"flows": [flow(5), flow(6, None)], "next": 9}}
        page = await client.ask("query-flows", start=3, limit=2)
        assert client.fake.sent("flows") == [{"cmd": "flows", "port": "u0", "first": 3, "limit": 2}]
        assert page["next"] == 9
        expected = {
            "protocol": "tcp", "state": "open", "guest": "10.0.2.15", "guest-port": 5, "peer": "192.0.2.1",
            "peer-port": 80, "from-guest": 1, "to-guest": 2, "age": 1.5,
        }  # fmt: skip
        assert page["flows"][0] == expected
        assert (page["flows"][1]["peer"], page["flows"][1]["peer-port"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"limit": 0}, "Parameter 'limit' expects a number from 1 to 256"),
        ({"limit": 257}, "Parameter 'limit' expects a number from 1 to 256"),
        ({"start": -1}, "Parameter 'start' expects what a page before had as 'next'"),
        ({"netdev_id": "zz"}, "DeviceNotFound: Device 'zz' not found"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(arguments: dict[str, object], sentence: str) -> None:
    async with desk() as client:
        await client.user()
        assert await client.refused("query-flows", **arguments) == sentence


async def test_ports_are_told_with_their_counters() -> None:
    async with desk() as client:
        await client.user()

        def stats(_: Request) -> dict[str, Any]:
            counters: dict[str, Any] = {
                "kind": "user",
                "rx_frames": 1,
                "rx_bytes": 2,
                "tx_frames": 3,
                "tx_bytes": 4,
            }
            return {"ok": {"ports": {"u0": {**counters, "drops": {"no_hub": 5}, "flows": {"tcp": 6}}}}}

        client.fake.answers["stats"] = stats
        (told,) = await client.ask("query-netdev", netdev_id="u0")
        expected: dict[str, Any] = {"id": "u0", "type": "user", "hub": None, "link": True}
        expected |= {"drops": {"no_hub": 5}, "flows": {"tcp": 6}}
        expected |= {"rx-frames": 1, "rx-bytes": 2, "tx-frames": 3, "tx-bytes": 4}
        assert told == expected
        await client.ask("netdev_add", type="hubport", id="h0", hubid=0, netdev="u0")
        assert [port["rx-frames"] for port in await client.ask("query-netdev")] == [1, 0]
        assert await client.refused("query-netdev", netdev_id="x") == "DeviceNotFound: Device 'x' not found"


async def test_a_port_is_moved_to_a_hub_that_is_there_or_numbered() -> None:
    async with desk() as client:
        port = await client.user()
        await client.network.join(port)
        await client.ask("wirebay-port-move", netdev_id="u0", hub="hub2")
        assert port.hub is client.network.hubs["hub2"]
        await client.ask("wirebay-port-move", netdev_id="u0", hub="#1")
        assert port.hub is client.network.hubs["#1"]
        refused = await client.refused("wirebay-port-move", netdev_id="u0", hub="hub02")
        assert refused == "there is no hub 'hub02'; name one of #1, hub2"


async def test_a_link_goes_down_and_up() -> None:
    async with desk() as client:
        port = await client.user()
        await client.ask("set_link", name="u0", up=False)
        assert not port.link
        assert not (await client.ask("query-netdev"))[0]["link"]
        await client.ask("set_link", name="u0", up=True)
        assert [request["up"] for request in client.fake.sent("link")] == [False, True]
        assert await client.refused("set_link", name="x", up=True) == "DeviceNotFound: Device 'x' not found"
        wrong = "Invalid parameter type for 'up', expected: boolean"
        assert await client.refused("set_link", name="u0", up=1) == wrong


async def test_filters_come_and_go() -> None:
    async with desk() as client:
        await client.user()
        members = {"qom_type": "filter-buffer", "id": "f", "netdev": "u0", "interval": 9}
        await client.ask("object-add", **members)
        assert list(client.network.objects.filters) == ["f"]
        duplicate = "attempt to add duplicate property 'f' to object (type 'container')"
        assert await client.refused("object-add", **members) == duplicate
        await client.ask("object-del", id="f")
        assert not client.network.objects.filters
        assert await client.refused("object-del", id="f") == "object 'f' not found"
        assert (
            await client.refused("object-add", qom_type="x")
            == "Parameter 'qom-type' does not accept value 'x'"
        )


async def test_a_port_may_be_added_as_the_command_line_spells_it(tmp_path: Path) -> None:
    async with desk() as client:
        option = f"stream,id=vm0,server=on,addr.type=unix,addr.path={tmp_path}/a"
        added = await client.ask("wirebay-netdev-add", netdev=option)
        assert added == {"id": "vm0", "text": f"vm0: listening on unix:{tmp_path}/a"}
        assert await client.refused("wirebay-netdev-add", netdev="user") == "Parameter 'id' is missing"


class Process:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.has_quit = False

    def quit(self) -> None:
        self.has_quit = True

    async def reload(self) -> dict[str, Any]:
        if self.has_quit:
            raise OptionError("2 mistakes in f\nf:1: a\nf:2: b")
        return {"added": ["x"]}


async def ask(session: Session, command: str) -> dict[str, Any]:
    return await session.answer(json.dumps({"execute": command}).encode())


async def test_the_process_reloads_and_ends_when_it_is_told_to() -> None:
    async with lab() as (network, _):
        process, events = Process(), []
        network.watch(lambda name, data: events.append((name, dict(data))))
        session = Session(Context(network, lambda: 0.0, process), COMMANDS)
        session.ready = True
        assert await ask(session, "wirebay-reload") == {"return": {"added": ["x"]}}
        assert await ask(session, "quit") == {"return": {}}
        assert process.has_quit
        assert events == [("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})]
        refused = await ask(session, "wirebay-reload")
        assert refused["error"]["desc"] == "2 mistakes in f\nf:1: a\nf:2: b"


async def test_a_network_of_a_program_neither_reloads_nor_ends() -> None:
    async with desk() as client:
        assert await client.refused("quit") == (
            "this network is part of a program that does not end when it is told to here"
        )
        assert "--config" in await client.refused("wirebay-reload")


async def test_events_that_come_fast_reach_clients_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab() as (network, _):
        server, sent = ControlServer(network), []
        monkeypatch.setattr(server, "_broadcast", lambda message: sent.append(json.loads(message)))
        for number in range(100):
            server.tell("WIREBAY_PORT_FAILED", {"netdev-id": "t0", "reason": str(number)})
            server.tell("WIREBAY_LEASE", {"netdev-id": "u0", "mac": str(number % 2)})
        assert [event["data"].get("reason", event["data"].get("mac")) for event in sent] == ["0", "0", "1"]
        server._throttle.due = lambda now: [b'{"late": 1}']  # type: ignore[method-assign]
        server._send_due()
        assert sent[-1] == {"late": 1}
        await server.close()


def entities() -> Mapping[str, dict[str, Any]]:
    found = introspect(COMMANDS, "qmp_capabilities")
    assert len({entity["name"] for entity in found}) == len(found), "a name is there twice"
    return {entity["name"]: entity for entity in found}


def types_in(entity: dict[str, Any]) -> list[str]:
    """Every type that an entity refers to."""
    named = [entity[key] for key in ("arg-type", "ret-type", "element-type") if key in entity]
    inner = [*entity.get("members", []), *entity.get("variants", [])]
    return [*named, *(member["type"] for member in inner if "type" in member)]


async def test_the_schema_has_every_command_and_event_and_every_type_they_name() -> None:
    async with desk() as client:
        told = {entity["name"]: entity for entity in await client.ask("query-qmp-schema")}
        names = {command["name"] for command in await client.ask("query-commands")}
    assert {name for name, entity in told.items() if entity["meta-type"] == "command"} == names
    assert {name for name, entity in told.items() if entity["meta-type"] == "event"} == set(EVENTS)
    assert {name for entity in told.values() for name in types_in(entity)} <= set(told)


def test_the_schema_says_what_commands_take() -> None:
    found = entities()
    assert found[found["wirebay-ping"]["arg-type"]]["members"] == [
        {"name": "netdev-id", "type": "str", "default": None},
        {"name": "address", "type": "str", "default": None},
        {"name": "timeout", "type": "number", "default": None},
        {"name": "size", "type": "int", "default": None},
    ]
    netdev = found[found["netdev_add"]["arg-type"]]
    assert netdev["tag"] == "type"
    assert {"case": "stream", "type": "netdev.stream"} in netdev["variants"]
    stream = {member["name"]: member for member in found["netdev.stream"]["members"]}
    assert stream["reconnect-ms"] == {"name": "reconnect-ms", "type": "int", "default": None}
    unix = found["netdev.stream.addr.unix"]["members"]
    assert {"name": "path", "type": "str"} in unix


async def test_every_event_that_is_told_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2] / "python" / "wirebay"
    told = {
        name for path in root.rglob("*.py") for name in re.findall(r'tell\("([A-Z_]+)"', path.read_text())
    }
    assert told
    assert told <= set(EVENTS)
