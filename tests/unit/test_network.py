"""Ports and hubs as Python keeps them, against a worker that moves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.fake_worker import refusal
from tests.unit.lab import hubport, lab, unix_server, until, user
from wirebay.errors import HostError, OptionError, WirebayError, WorkerError
from wirebay.network import Network, qemu_spelling

pytestmark = pytest.mark.anyio


async def test_an_id_is_taken_once() -> None:
    async with lab() as (network, _):
        port = await network.add(user())
        with pytest.raises(OptionError, match=r"^Duplicate ID 'u0' for netdev$"):
            await network.add(user())
        assert network.ports == {"u0": port}
        await port.close()
        await network.add(user())


async def test_an_id_is_taken_while_its_port_is_still_opening() -> None:
    async with lab() as (network, _):
        first, second = await asyncio.gather(network.add(user()), network.add(user()), return_exceptions=True)
        assert first is network.ports["u0"]
        assert isinstance(second, OptionError)


async def test_options_as_keywords_are_qemus_in_python_spelling() -> None:
    async with lab() as (network, fake):
        await network.add("user", id="u0", host_loopback=False, mtu=9000)
        (request,) = fake.sent("user_add")
        assert (request["port"], request["host_loopback"], request["mtu"]) == ("u0", False, 9000)


async def test_a_port_without_an_id_gets_a_free_one() -> None:
    async with lab() as (network, _):
        names = [(await network.add("user", **options)).id for options in ({}, {"id": "user1"}, {})]
        assert names == ["user0", "user1", "user2"]


async def test_options_given_twice_are_refused() -> None:
    async with lab() as (network, _):
        with pytest.raises(OptionError, match="leave no room"):
            await network.add(user(), mtu=9000)


async def test_nested_names_are_spelled_as_qemu_does() -> None:
    options = {"reconnect_ms": 5, "addr": {"type": "inet", "keep_alive": True}}
    assert qemu_spelling(options) == {"reconnect-ms": 5, "addr": {"type": "inet", "keep-alive": True}}


async def test_the_one_option_that_qemu_spells_with_an_underscore_keeps_it() -> None:
    assert qemu_spelling({"vnet_hdr": False}) == {"vnet_hdr": False}
    async with lab() as (network, _):
        with pytest.raises(OptionError, match="vnet_hdr= are invalid with fd="):
            await network.add("tap", fd="9999", vnet_hdr=False)


async def test_a_port_whose_making_is_cancelled_is_taken_back_from_the_worker() -> None:
    async with lab() as (network, fake):
        fake.silent.add("user_add")
        adding = asyncio.create_task(network.add(user()))
        await fake.asked("user_add")
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert fake.sent("port_remove") == [{"cmd": "port_remove", "port": "u0"}]
        assert not network.ports


async def test_joined_ports_are_on_a_hub_of_their_own() -> None:
    async with lab() as (network, fake):
        ports = [await network.add(user(name)) for name in ("u0", "u1", "u2")]
        first = await network.join(*ports[:2])
        second = await network.join(ports[2])
        assert first.ports == ports[:2]
        assert first.name != second.name
        assert [(r["hub"], r["port"]) for r in fake.sent("join")] == [
            (first.name, "u0"),
            (first.name, "u1"),
            (second.name, "u2"),
        ]


async def test_joining_a_port_that_is_on_a_hub_changes_nothing() -> None:
    async with lab() as (network, fake):
        ports = [await network.add(user(name)) for name in ("u0", "u1")]
        await network.join(ports[1])
        with pytest.raises(OptionError, match="port 'u1' is already on hub"):
            await network.join(*ports)
        assert len(fake.sent("hub_add")) == len(fake.sent("join")) == 1
        assert ports[0].hub is None


async def test_a_named_hub_is_made_once_even_when_asked_for_at_once() -> None:
    async with lab() as (network, fake):
        hubs = await asyncio.gather(network.hub("lan"), network.hub("lan"))
        assert hubs[0] is hubs[1] is await network.hub("lan")
        assert fake.sent("hub_add") == [{"cmd": "hub_add", "hub": "lan"}]


async def test_a_port_leaves_its_hub_and_joins_another() -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        lan = await network.hub("lan")
        await lan.join(port)
        await lan.leave(port)
        with pytest.raises(OptionError, match="port 'u0' is not on hub 'lan'"):
            await lan.leave(port)
        await (await network.hub("wan")).join(port)
        assert [r.get("hub") for r in fake.sent("join", "leave")] == ["lan", None, "wan"]
        assert lan.ports == []


async def test_a_closed_hub_unplugs_its_ports() -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        hub = await network.join(port)
        await hub.close()
        assert port.hub is None
        assert network.hubs == {}
        assert fake.sent("hub_remove") == [{"cmd": "hub_remove", "hub": hub.name}]


async def test_a_worker_that_refuses_to_join_leaves_the_port_unplugged() -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        fake.answers["join"] = refusal("option", "no")
        with pytest.raises(OptionError):
            await network.join(port)
        assert port.hub is None


async def test_hubports_plug_ports_into_numbered_hubs() -> None:
    async with lab() as (network, _):
        ports = [await network.add(user(name)) for name in ("u0", "u1")]
        await network.add(hubport("h0", -1, "u0"))
        h1 = await network.add(hubport("h1", -1, "u1"))
        assert (await network.hub("hub-1")).ports == ports
        await h1.close()
        assert (await network.hub("hub-1")).ports == ports[:1]


@pytest.mark.parametrize(
    ("netdev", "sentence"),
    [
        ("foo", "netdev 'foo' not found"),
        ("h1", "netdev 'h1' not found"),
        ("u0", "netdev 'u0' is already on hubport 'h0'"),
        ("h0", "netdev 'h0' is a hubport: hubs cannot be joined to each other"),
    ],
)
async def test_a_hubport_that_cannot_be_is_refused(netdev: str, sentence: str) -> None:
    async with lab() as (network, _):
        await network.add(user())
        await network.add(hubport("h0", 0, "u0"))
        with pytest.raises(OptionError) as error:
            await network.add(hubport("h1", 0, netdev))
        assert str(error.value) == sentence
        assert set(network.ports) == {"u0", "h0"}


async def test_a_hubport_without_a_netdev_warns_as_qemu_does(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as (network, _):
        await network.add(hubport("h0", 0, None))
        assert "netdev h0 has no peer" in caplog.text


async def test_a_hubport_itself_cannot_be_joined() -> None:
    async with lab() as (network, _):
        await network.add(user())
        port = await network.add(hubport("h0", 0, "u0"))
        with pytest.raises(OptionError, match="port 'h0' is a hubport"):
            await network.join(port)


async def test_leaving_undoes_everything_even_after_an_error(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    fakes = []

    async def fail_in_the_middle() -> None:
        async with lab() as (network, fake):
            fakes.append(fake)
            for path in paths:
                await network.add(unix_server(path.name, path))
            assert all(path.is_socket() for path in paths)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_in_the_middle()
    assert not any(path.exists() for path in paths)
    assert fakes[0].requests[-1] == {"cmd": "stop"}


async def test_a_step_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "sock"

    async def break_the_end() -> None:
        async with lab() as (network, _):
            port = await network.add(unix_server("vm0", path))
            port._teardown.add(raising("second"))
            port._teardown.add(raising("first"))

    with pytest.raises(WirebayError, match=r"^the network did not close cleanly: first; second$"):
        await break_the_end()
    assert not path.exists()


def raising(sentence: str) -> Callable[[], None]:
    def step() -> None:
        raise HostError(sentence)

    return step


async def test_a_port_that_cannot_open_leaves_nothing(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        (tmp_path / "taken").write_text("not a socket")
        with pytest.raises(HostError, match="exists and is not a socket"):
            await network.add(unix_server("vm0", tmp_path / "taken"))
        assert fake.sent("port_remove") == [{"cmd": "port_remove", "port": "vm0"}]
        assert network.ports == {}


async def test_a_port_that_opens_while_the_network_closes_leaves_nothing(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        adding = asyncio.create_task(network.add(unix_server("vm0", tmp_path / "sock")))
        await fake.asked("stream_add")
    with pytest.raises(WorkerError):
        await adding
    assert not (tmp_path / "sock").exists()


async def test_the_death_of_the_worker_is_told_and_cleaned_up(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    sentence = "the packet worker (pid 4242) was killed by signal 9 (SIGKILL); the network is down"
    async with lab() as (network, fake):
        await network.add(user())
        await network.add(unix_server("vm0", path))
        fake.ending = "was killed by signal 9 (SIGKILL)"
        fake.exit()
        assert await network.failed() == sentence
        assert await network.failed() == sentence
        with pytest.raises(WorkerError) as error:
            await network.hub("lan")
        assert str(error.value) == sentence
    assert not path.exists()


async def test_a_port_that_fails_is_taken_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        hub = await network.join(port)
        fake.send({"event": "port_failed", "port": "u0", "reason": "the device was deleted"})
        assert await port.failed == "user port 'u0' is gone: the device was deleted"
        assert network.ports == {}
        assert hub.ports == []
        assert "u0' is gone" in caplog.text
    assert fake.sent("port_remove") == []


async def test_events_about_unknown_ports_are_ignored() -> None:
    async with lab() as (network, fake):
        fake.send({"event": "stream_closed", "port": "nobody", "reason": "x"})
        fake.send({"event": "of a later version"})
        assert await network.stats() == {"ports": {}}


async def test_a_network_outside_its_context_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Network().stats()


async def test_events_are_told_to_those_who_watch_until_they_stop() -> None:
    async with lab() as (network, fake):
        seen: list[object] = []
        stop = network.watch(lambda name, data: seen.append((name, dict(data))))
        await network.add(user())
        fake.send({"event": "port_failed", "port": "u0", "reason": "it broke"})
        await until(lambda: bool(seen))
        stop()
        network.tell("WIREBAY_TEST", {})
        assert seen == [("WIREBAY_PORT_FAILED", {"netdev-id": "u0", "reason": "it broke"})]
