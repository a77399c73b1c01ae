"""What can be asked and changed while a network runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control import desk, give_lease
from tests.unit.fake_worker import refusal as worker_refusal
from wirebay.network import Network

pytestmark = pytest.mark.anyio


def placed(network: Network) -> dict[str, str | None]:
    """The hub of every port."""
    return {port.id: port.hub.name if port.hub else None for port in network.ports.values()}


def server(name: str, path: Path) -> dict[str, Any]:
    return {"type": "stream", "id": name, "server": True, "addr": {"type": "unix", "path": str(path)}}


async def test_the_version_is_ours_under_the_name_that_clients_expect() -> None:
    async with desk() as client:
        version = await client.ask("query-version")
        assert set(version["qemu"]) == {"major", "minor", "micro"}
        assert version["package"].startswith("wirebay ")


async def test_every_command_is_listed_once() -> None:
    async with desk() as client:
        names = [command["name"] for command in await client.ask("query-commands")]
        assert names == sorted(set(names))
        assert {"qmp_capabilities", "netdev_add", "human-monitor-command", "wirebay-ping"} <= set(names)


async def test_the_status_tells_what_runs() -> None:
    async with desk() as client:
        await client.network.join(await client.user())
        assert await client.ask("query-status") == {"status": "running", "running": True}
        status = await client.ask("wirebay-query-status")
        assert status.pop("version")
        assert status == {"pid": os.getpid(), "worker-pid": 4242, "uptime": 12.346, "ports": 1, "hubs": 1}


async def test_ports_are_listed_with_their_hubs() -> None:
    async with desk() as client:
        await client.network.join(await client.user())
        await client.user("u1")
        text = "user network 10.0.2.0/24 and fec0::/64"
        assert await client.ask("wirebay-query-ports") == [
            {"id": "u0", "type": "user", "hub": "#1", "text": text},
            {"id": "u1", "type": "user", "hub": None, "text": text},
        ]


async def test_counters_are_those_of_the_worker() -> None:
    async with desk() as client:
        await client.user()
        client.fake.answers["stats"] = lambda _: {"ok": {"ports": {"u0": {"flows": {"tcp": 2}}}}}
        stats = await client.ask("wirebay-query-stats")
        assert stats == {"ports": {"u0": {"flows": {"tcp": 2}, "drops": {}}}}


async def test_a_port_is_added_and_removed_while_the_network_runs(tmp_path: Path) -> None:
    async with desk() as client:
        await client.network.join(await client.user())
        path = tmp_path / "sock"
        await client.ask("netdev_add", **server("vm0", path))
        assert path.is_socket()
        assert placed(client.network) == {"u0": "#1", "vm0": "#1"}
        await client.ask("netdev_del", id="vm0")
        assert not path.exists()
        assert placed(client.network) == {"u0": "#1"}


async def test_the_second_port_makes_the_hub(tmp_path: Path) -> None:
    async with desk() as client:
        await client.ask("netdev_add", type="user", id="u0")
        assert placed(client.network) == {"u0": None}
        await client.ask("netdev_add", **server("vm0", tmp_path / "sock"))
        assert placed(client.network) == {"u0": "#1", "vm0": "#1"}


async def test_where_hubports_say_who_is_where_a_new_port_waits_for_its_own() -> None:
    async with desk() as client:
        for netdev in (
            {"type": "user", "id": "u0"},
            {"type": "hubport", "id": "h0", "hubid": 3, "netdev": "u0"},
            {"type": "user", "id": "u1"},
        ):
            await client.ask("netdev_add", **netdev)
        assert placed(client.network) == {"u0": "hub3", "h0": None, "u1": None}
        await client.ask("netdev_add", type="hubport", id="h1", hubid=3, netdev="u1")
        assert placed(client.network)["u1"] == "hub3"


async def test_among_several_hubs_none_is_chosen() -> None:
    async with desk() as client:
        for name in ("u0", "u1"):
            await client.network.join(await client.user(name))
        await client.ask("netdev_add", type="user", id="u2")
        assert placed(client.network) == {"u0": "#1", "u1": "#2", "u2": None}


@pytest.mark.parametrize(
    ("netdev", "sentence"),
    [
        ({}, "Parameter 'id' is missing"),
        ({"id": "u1"}, "Parameter 'type' is missing"),
        ({"id": "u0", "type": "user"}, "Duplicate ID 'u0'"),
        ({"id": "u1", "type": "bogus"}, "Parameter 'type' does not accept value 'bogus'"),
        ({"id": "u1", "type": "user", "bogus": 1}, "Parameter 'bogus' is unexpected"),
        (
            {"id": "u1", "type": "user", "hostfwd": 1},
            "Invalid parameter type for 'hostfwd', expected: array",
        ),
        (
            {"id": "s0", "type": "stream", "server": True, "addr": {"type": "fd", "str": "0"}},
            "File descriptor named '0' has not been found",
        ),
        ({"id": "t0", "type": "tap", "fd": "0"}, "File descriptor named '0' has not been found"),
    ],
)
async def test_a_port_that_cannot_be_is_refused_in_qemus_words(
    netdev: dict[str, object], sentence: str
) -> None:
    async with desk() as client:
        await client.user()
        assert await client.refused("netdev_add", **netdev) == sentence
        assert placed(client.network) == {"u0": None}


async def test_a_port_that_the_host_refuses_leaves_nothing(tmp_path: Path) -> None:
    async with desk() as client:
        refusal = await client.refused("netdev_add", **server("vm0", tmp_path / "no" / "sock"))
        assert refusal == f"Failed to bind socket to '{tmp_path}/no/sock': No such file or directory"
        assert not client.network.ports


async def test_a_port_that_cannot_be_plugged_in_leaves_nothing() -> None:
    async with desk() as client:
        await client.network.join(await client.user())
        client.fake.answers["join"] = worker_refusal("host", "no room")
        assert await client.refused("netdev_add", type="user", id="u1") == "no room"
        assert list(client.network.ports) == ["u0"]
        assert client.fake.sent("port_remove") == [{"cmd": "port_remove", "port": "u1"}]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Parameter 'id' is missing"),
        ({"id": 1}, "Invalid parameter type for 'id', expected: string"),
        ({"id": "zz"}, "DeviceNotFound: Device 'zz' not found"),
    ],
)
async def test_only_a_port_can_be_removed(arguments: dict[str, object], sentence: str) -> None:
    async with desk() as client:
        assert await client.refused("netdev_del", **arguments) == sentence


async def test_a_forward_is_added_listed_and_removed() -> None:
    async with desk() as client:
        port = await client.user()
        rule = "tcp:127.0.0.1:0-:22"
        opened = await client.ask("wirebay-forward-add", rule=rule)
        number = opened["host-port"]
        assert opened == {
            "netdev-id": "u0",
            "type": "hostfwd",
            "protocol": "tcp",
            "host": "127.0.0.1",
            "host-port": number,
            "guest": "10.0.2.15",
            "guest-port": 22,
            "ports": 1,
            "interface": None,
            "rule": rule,
        }
        assert await client.ask("wirebay-query-forwards") == [opened]
        socket.create_connection(("127.0.0.1", number)).close()
        await client.ask("wirebay-forward-remove", rule=f"tcp:127.0.0.1:{number}", netdev_id="u0")
        assert await client.ask("wirebay-query-forwards") == []
        assert port.forwards == ()
        assert client.fake.sent("forward_remove")[0]["port"] == "u0"


async def test_a_forward_from_guests_is_added_listed_and_removed() -> None:
    async with desk() as client:
        await client.user(hostfwd=["tcp:127.0.0.1:0-:22"])
        rule = "tcp:10.0.2.100:7-cmd:cat"
        opened = await client.ask("wirebay-forward-add", rule=rule, type="guestfwd")
        assert opened == {
            "netdev-id": "u0",
            "type": "guestfwd",
            "protocol": "tcp",
            "server": "10.0.2.100",
            "server-port": 7,
            "target": "cmd:cat",
            "rule": rule,
        }
        listed = await client.ask("wirebay-query-forwards")
        assert [forward["type"] for forward in listed] == ["hostfwd", "guestfwd"]
        assert listed[1] == opened
        await client.ask("wirebay-forward-remove", rule="tcp:10.0.2.100:7", type="guestfwd")
        assert len(await client.ask("wirebay-query-forwards")) == 1


@pytest.mark.parametrize("command", ["wirebay-forward-add", "wirebay-forward-remove"])
async def test_a_kind_of_forward_there_is_not_is_refused(command: str) -> None:
    async with desk() as client:
        await client.user()
        refusal = await client.refused(command, rule="tcp::1-:1", type="x")
        assert refusal == "Parameter 'type' does not accept value 'x'"


async def test_which_user_network_must_be_clear(tmp_path: Path) -> None:
    async with desk() as client:
        rule = {"rule": "tcp:127.0.0.1:0-:22"}
        assert await client.refused("wirebay-forward-add", **rule) == "user mode network stack not in use"
        await client.user("u0")
        await client.user("u1")
        await client.ask("netdev_add", **server("vm0", tmp_path / "sock"))
        several = "there are several user networks; name one of u0, u1"
        assert await client.refused("wirebay-forward-add", **rule) == several
        wrong = await client.refused("wirebay-forward-add", **rule, netdev_id="vm0")
        assert wrong == "Device 'vm0' is not a user network"
        missing = await client.refused("wirebay-ping", netdev_id="zz")
        assert missing == "DeviceNotFound: Device 'zz' not found"
        assert (await client.ask("wirebay-forward-add", **rule, netdev_id="u1"))["netdev-id"] == "u1"


async def test_a_forward_that_cannot_be_is_refused_with_the_reason() -> None:
    async with desk() as client:
        await client.user()
        refusal = await client.refused("wirebay-forward-add", rule="tcp:bad")
        assert refusal == "Invalid host forwarding rule 'tcp:bad' (Missing : separator)"
        refusal = await client.refused("wirebay-forward-remove", rule="tcp::1")
        assert refusal == "host forwarding rule 'tcp::1' is not open"


async def test_leases_are_listed_and_told() -> None:
    async with desk() as client:
        port = await client.user()
        events: list[tuple[str, dict[str, Any]]] = []
        stop = client.network.watch(lambda name, data: events.append((name, dict(data))))
        give_lease(port, 1, "vm")
        give_lease(port, 1, "vm")  # renewed: nothing new to tell
        (lease,) = await client.ask("wirebay-query-leases")
        given = {"netdev-id": "u0", "mac": "52:54:00:00:00:01", "address": "10.0.2.15", "name": "vm"}
        assert 86300 < lease.pop("expires") <= 86400
        assert lease == given
        assert events == [("WIREBAY_LEASE", given)]
        stop()
        give_lease(port, 2)
        assert len(events) == 1


async def test_a_ping_is_answered_with_its_time() -> None:
    async with desk() as client:
        await client.user()
        client.pong(ttl=63)
        answer = await client.ask("wirebay-ping", netdev_id="u0")
        assert 0 <= answer.pop("time") < 5
        assert answer == {"address": "10.0.2.15", "ttl": 63, "size": 56}


async def test_a_ping_that_is_not_answered_says_so() -> None:
    async with desk() as client:
        await client.user()
        refusal = await client.refused("wirebay-ping", address="10.0.2.77", timeout=0.01)
        assert refusal == "DeviceNotActive: the guest at 10.0.2.77 did not answer a ping within 0.01 s"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"timeout": 0}, "Parameter 'timeout' expects a number of seconds, at most 60"),
        ({"timeout": 61}, "Parameter 'timeout' expects a number of seconds, at most 60"),
        ({"size": -1}, "Parameter 'size' expects a number of bytes"),
        ({"address": "ten"}, "'ten' is not an IP address"),
    ],
)
async def test_a_ping_that_cannot_be_is_refused(arguments: dict[str, object], sentence: str) -> None:
    async with desk() as client:
        await client.user()
        assert await client.refused("wirebay-ping", **arguments) == sentence
        assert not client.fake.sent("guest_ping")
