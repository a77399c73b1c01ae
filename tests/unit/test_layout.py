"""A set of ports changed into another: as little as can be, and nothing where there is a mistake."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import hubport, lab, unix_server, user
from wirebay.changes import Changes, Present, compare
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.options.guestfwd import parse_guestfwd
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.objects import FilterOptions, parse_object
from wirebay.options.types import InetAddr, Netdev, StreamOptions
from wirebay.wiring import Description

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(*netdevs: Netdev) -> AsyncIterator[tuple[Network, FakeWorker]]:
    """A network of these ports; what the worker was asked for so far is forgotten."""
    async with lab() as (network, fake):
        await network.apply(netdevs)
        fake.drop_fds()
        fake.requests.clear()
        fake.fds.clear()
        yield network, fake


def tcp_server(name: str, port: int) -> StreamOptions:
    return StreamOptions(id=name, server=True, addr=InetAddr(host="127.0.0.1", port=str(port)))


def commands(fake: FakeWorker) -> list[tuple[str, object]]:
    return [(request["cmd"], request.get("port", request.get("hub"))) for request in fake.requests]


def ids(changes: Changes) -> dict[str, list[str]]:
    return {kind: names for kind, names in changes.ids().items() if names}


def differ(old: list[Netdev], new: list[Netdev], present: set[str]) -> Changes:
    """What differs between networks of ports alone."""
    before, after = (Description(netdevs=tuple(netdevs)) for netdevs in (old, new))
    return compare(before, after, Present(netdevs=present))


def test_each_kind_of_change_is_told_from_the_others(tmp_path: Path) -> None:
    rules = (parse_hostfwd("tcp::80-:80"),)
    old: list[Netdev] = [
        user("u0"),
        user("u1"),
        unix_server("a", tmp_path / "a"),
        unix_server("b", tmp_path / "b"),
    ]
    new: list[Netdev] = [
        user("u0", *rules),
        replace(user("u1"), mtu=1400),
        unix_server("a", tmp_path / "a"),
        user("c"),
    ]
    changes = differ(old, new, {"u0", "u1", "a", "b"})
    expected = {"added": ["c"], "removed": ["b"], "replaced": ["u1"], "updated": ["u0"]}
    assert ids(changes) == expected
    assert str(changes) == "opened c; closed b; reopened u1; rules of u0"


def test_a_port_that_has_gone_is_new_again_and_its_hubport_with_it() -> None:
    netdevs: list[Netdev] = [user("u0"), hubport("h0", 0, "u0"), user("u1"), hubport("h1", 0, "u1")]
    assert ids(differ(netdevs, netdevs, {"h0", "u1", "h1"})) == {"added": ["u0"], "replaced": ["h0"]}
    assert not differ(netdevs, netdevs, {"u0", "u1", "h0", "h1"})


async def test_what_is_equal_is_not_touched(tmp_path: Path) -> None:
    netdevs: list[Netdev] = [user("u0"), unix_server("a", tmp_path / "a")]
    async with running(*netdevs) as (network, fake):
        before = dict(network.ports)
        assert str(await network.apply(netdevs)) == "nothing has changed"
        assert dict(network.ports) == before
        assert fake.requests == []


async def test_what_is_new_comes_onto_the_hub_of_the_others_and_what_is_old_goes(tmp_path: Path) -> None:
    async with running(user("u0"), unix_server("a", tmp_path / "a")) as (network, fake):
        await network.apply([user("u0"), unix_server("b", tmp_path / "b")])
        assert list(network.ports) == ["u0", "b"]
        assert commands(fake) == [("stream_add", "b"), ("port_remove", "a"), ("join", "b")]
        assert fake.sent("join")[0]["hub"] == "#1"
        assert not (tmp_path / "a").exists()


async def test_forwards_change_without_the_network_they_lead_into() -> None:
    old, kept, new = (parse_hostfwd(f"tcp:127.0.0.1:0-:{port}") for port in (80, 81, 82))
    async with running(user("u0", old, kept)) as (network, fake):
        guest = parse_guestfwd("tcp:10.0.2.100:7-tcp:127.0.0.1:7", user().ipv4, None, ())
        await network.apply([replace(user("u0", kept, new), guestfwd=(guest,))])
        assert [name for name, _ in commands(fake)] == ["forward_remove", "forward_add", "service_add"]
        await network.apply([user("u0", kept, new)])
        assert commands(fake)[3:] == [("service_remove", "u0")]
        port = network.ports["u0"]
        assert [rule.guest_port for rule in port.forwards] == [81, 82]  # type: ignore[attr-defined]


async def test_a_forward_that_control_has_closed_may_leave_the_file() -> None:
    rule = parse_hostfwd("tcp:127.0.0.1:0-:80")
    async with running(user("u0", rule)) as (network, _):
        await network.ports["u0"].remove_forward(rule)  # type: ignore[attr-defined]
        assert ids(await network.apply([user("u0")])) == {"updated": ["u0"]}


async def test_a_port_that_cannot_be_opened_leaves_everything_as_it_was(tmp_path: Path) -> None:
    netdevs: list[Netdev] = [user("u0"), unix_server("a", tmp_path / "a")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rule = parse_hostfwd(f"tcp:127.0.0.1:{taken.getsockname()[1]}-:80")
        wanted: list[Netdev] = [
            user("u0"),
            unix_server("a", tmp_path / "a"),
            unix_server("b", tmp_path / "b"),
            user("u1", rule),
        ]
        async with running(*netdevs) as (network, fake):
            before = dict(network.ports)
            with pytest.raises(HostError, match="Address already in use"):
                await network.apply(wanted)
            assert dict(network.ports) == before
            assert {port for name, port in commands(fake) if name == "port_remove"} == {"b", "u1"}
            assert not (tmp_path / "b").exists()
            assert ids(await network.apply(wanted[:3])) == {"added": ["b"]}


async def test_a_wrong_rule_brings_the_other_rules_back() -> None:
    old = parse_hostfwd("tcp:127.0.0.1:0-:80")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wrong = parse_hostfwd(f"tcp:127.0.0.1:{taken.getsockname()[1]}-:81")
        async with running(user("u0", old)) as (network, _):
            with pytest.raises(HostError):
                await network.apply([user("u0", parse_hostfwd("tcp:127.0.0.1:0-:82"), wrong)])
            rules = network.ports["u0"].forwards  # type: ignore[attr-defined]
            assert [rule.guest_port for rule in rules] == [80]


async def test_a_new_port_may_take_the_address_of_one_that_goes() -> None:
    async with running(tcp_server("a", 0)) as (network, _fake):
        number = int(network.ports["a"].address.rpartition(":")[2])  # type: ignore[attr-defined]
        await network.apply([tcp_server("b", number)])
        await network.apply([tcp_server("c", number)])
        assert list(network.ports) == ["c"]


async def test_a_port_whose_options_change_is_opened_anew_in_its_place(tmp_path: Path) -> None:
    async with running(user("u0"), unix_server("a", tmp_path / "a")) as (network, fake):
        kept = network.ports["u0"]
        await network.apply([user("u0"), unix_server("a", tmp_path / "b")])
        assert commands(fake) == [("port_remove", "a"), ("stream_add", "a"), ("join", "a")]
        assert network.ports["u0"] is kept
        assert (tmp_path / "b").exists()


async def test_a_port_that_cannot_be_opened_anew_comes_back_as_it_was(tmp_path: Path) -> None:
    async with running(user("u0"), unix_server("a", tmp_path / "a")) as (network, _fake):
        with pytest.raises(HostError):
            await network.apply([user("u0"), unix_server("a", tmp_path / "none" / "a")])
        assert (tmp_path / "a").exists()
        assert network.ports["a"].hub is network.ports["u0"].hub
        assert network.ports["a"].hub is not None


async def test_hubports_take_ports_off_the_common_hub_and_leave_them_to_it(tmp_path: Path) -> None:
    ports: list[Netdev] = [user("u0"), unix_server("a", tmp_path / "a")]
    hubports: list[Netdev] = [hubport("h0", 0, "u0"), hubport("h1", 1, "a")]
    async with running(*ports) as (network, _):
        kept = dict(network.ports)
        await network.apply([*ports, *hubports])
        assert [port.hub.name for port in kept.values() if port.hub] == ["hub0", "hub1"]
        await network.apply([*ports, hubports[0], hubport("h1", 0, "a")])
        assert [port.hub.name for port in kept.values() if port.hub] == ["hub0", "hub0"]
        await network.apply(ports)
        assert dict(network.ports) == kept
        assert [port.hub.name for port in kept.values() if port.hub] == ["#1", "#1"]


async def test_a_hubport_that_cannot_be_plugged_in_leaves_the_hubs_as_they_were() -> None:
    async with running(user("u0"), user("u1")) as (network, fake):
        fake.answers["hub_add"] = refusal("host", "no")
        with pytest.raises(HostError):
            await network.apply([user("u0"), user("u1"), hubport("h0", 0, "u0")])
        assert [port.hub.name for port in network.ports.values() if port.hub] == ["#1", "#1"]


async def test_ports_that_others_have_added_stay_and_keep_their_ids(tmp_path: Path) -> None:
    async with running(user("u0")) as (network, _):
        await network.add(unix_server("mine", tmp_path / "mine"))
        await network.apply([user("u1")])
        assert list(network.ports) == ["mine", "u1"]
        with pytest.raises(OptionError, match="Duplicate ID 'mine'"):
            await network.apply([user("u1"), user("mine")])
        assert list(network.ports) == ["mine", "u1"]


async def test_ports_that_contradict_each_other_are_refused_before_anything_is_done() -> None:
    async with running(user("u0")) as (network, fake):
        with pytest.raises(OptionError, match="netdev 'zz' not found"):
            await network.apply([hubport("h0", 0, "zz")])
        assert fake.requests == []


async def test_options_may_be_given_as_json_has_them() -> None:
    async with lab() as (network, _):
        await network.apply([{"type": "user", "id": "u0"}])
        assert list(network.ports) == ["u0"]


async def test_a_port_is_moved_to_another_hub_with_its_peer() -> None:
    async with running(user("u0"), user("u1")) as (network, fake):
        port = network.ports["u1"]
        hub = await network.move(port, "other")
        assert commands(fake) == [("hub_add", "other"), ("leave", "u1"), ("join", "u1")]
        assert port.hub is hub
        await network.move(port, hub)
        assert len(fake.requests) == 3


async def test_a_port_that_cannot_be_moved_stays_where_it_is() -> None:
    async with running(user("u0"), user("u1")) as (network, fake):
        target = await network.hub("other")
        fake.answers["join"] = lambda request: (
            {"error": {"fault": "host", "message": "no"}} if request["hub"] == "other" else {"ok": {}}
        )
        with pytest.raises(HostError):
            await network.move(network.ports["u1"], target)
        assert network.ports["u1"].hub is network.ports["u0"].hub


async def test_a_hubport_tells_where_its_port_has_been_moved_to() -> None:
    async with running(user("u0"), hubport("h0", 0, "u0")) as (network, _):
        await network.move(network.ports["u0"], "hub7")
        assert network.ports["h0"].describe() == "h0: u0 on hub 7"
        with pytest.raises(OptionError, match="is a hubport"):
            await network.move(network.ports["h0"], "hub7")


MIRROR, BUFFER = "filter-mirror,id=m,netdev=a,outdev=c", "filter-buffer,id=b,netdev=a,interval=9"


def filters(*texts: str) -> list[FilterOptions]:
    return [parse_object(text) for text in texts]


def chain(network: Network, name: str = "a") -> list[str]:
    return [one.id for one in network.objects.chain(network.ports[name])]


async def test_filters_come_and_go_and_keep_their_order(tmp_path: Path) -> None:
    ports = [user("a"), user("u")]
    chardevs = [f"socket,id=c,path={tmp_path}/c,server=on,wait=off"]
    async with lab() as (network, _):
        await network.apply(ports, chardevs=chardevs, objects=filters(MIRROR, BUFFER))
        kept = network.objects.filters["m"]
        first = "filter-buffer,id=x,netdev=a,interval=1"
        changes = await network.apply(ports, chardevs=chardevs, objects=filters(first, MIRROR, BUFFER))
        assert (ids(changes), chain(network)) == ({"added": ["x"]}, ["x", "m", "b"])
        changed = first.replace("interval=1", "interval=2")
        changes = await network.apply(ports, chardevs=chardevs, objects=filters(changed, MIRROR, BUFFER))
        assert (ids(changes), chain(network)) == ({"replaced": ["x"]}, ["x", "m", "b"])
        assert network.objects.filters["m"] is kept
        changes = await network.apply(ports)
        assert (ids(changes), chain(network)) == ({"removed": ["c", "x", "m", "b"]}, [])
        assert not (tmp_path / "c").exists()


async def test_what_stands_on_something_that_is_opened_anew_is_opened_anew(tmp_path: Path) -> None:
    chardev = f"socket,id=c,path={tmp_path}/%s,server=on,wait=off"
    async with lab() as (network, _):
        await network.apply([user("a"), user("u")], chardevs=[chardev % "c"], objects=filters(MIRROR, BUFFER))
        changes = await network.apply(
            [user("a"), user("u")], chardevs=[chardev % "d"], objects=filters(MIRROR, BUFFER)
        )
        assert (ids(changes), chain(network)) == ({"replaced": ["c", "m"]}, ["m", "b"])
        ports = [replace(user("a"), mtu=1400), user("u")]
        changes = await network.apply(ports, chardevs=[chardev % "d"], objects=filters(MIRROR, BUFFER))
        assert (ids(changes), chain(network)) == ({"replaced": ["a", "m", "b"]}, ["m", "b"])


async def test_a_filter_that_cannot_be_opened_leaves_everything_as_it_was(tmp_path: Path) -> None:
    chardevs = [f"socket,id=c,path={tmp_path}/c,server=on,wait=off"]
    async with lab() as (network, _):
        await network.apply([user("a")], chardevs=chardevs, objects=filters(MIRROR, BUFFER))
        dump = f"filter-dump,id=d,netdev=a,file={tmp_path}/none/x"
        with pytest.raises(HostError):
            await network.apply([user("a"), user("u")], objects=filters(BUFFER, dump))
        assert (list(network.ports), chain(network)) == (["a"], ["m", "b"])
        assert list(network.objects.chardevs) == ["c"]
        assert (tmp_path / "c").exists()


async def test_a_chardev_that_a_filter_uses_cannot_be_taken_from_it(tmp_path: Path) -> None:
    async with lab() as (network, _):
        await network.apply(
            [user("a")],
            chardevs=[f"socket,id=c,path={tmp_path}/c,server=on,wait=off"],
            objects=filters(MIRROR),
        )
        with pytest.raises(OptionError, match="Chardev 'c' is busy"):
            await network.objects.remove_chardev("c")
        with pytest.raises(OptionError, match="Chardev 'x' not found"):
            await network.objects.remove_chardev("x")


async def test_ports_change_between_hub_and_switch_with_their_vlans(tmp_path: Path) -> None:
    place = {"type": "switchport", "id": "p", "switch": "lan", "netdev": "u0"}
    async with running(user("u0"), user("u1")) as (network, fake):
        await network.apply([user("u0"), user("u1"), {**place, "vlan": 7}])
        await network.apply([user("u0"), user("u1"), {**place, "vlan": 8}])
        assert [request.get("vlan") for request in fake.sent("join")] == [7, 8]
        assert network.ports["u0"].hub is network.hubs["lan"]
        await network.move(network.ports["u1"], "lan")
        assert network.ports["u1"].hub is network.hubs["lan"]
