"""Switches, links and filters as Python keeps them, against a worker that moves nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import hubport, lab, open_descriptors, user
from wirebay.errors import HostError, OptionError, WirebayError
from wirebay.filters.dump import DumpFilter
from wirebay.network import Network
from wirebay.options.types import SwitchportOptions

pytestmark = pytest.mark.anyio


async def test_switchports_plug_ports_into_named_switches() -> None:
    async with lab() as (network, fake):
        await network.add(user("u0"))
        await network.add(user("u1"))
        place = SwitchportOptions(
            id="p0", switch="lan", netdev="u0", vlan=10, trunk=((20, 20), (30, 39)), isolated=True
        )
        port = await network.add(place)
        await network.add(SwitchportOptions(id="p1", switch="lan", netdev="u1"))
        assert port.describe() == "p0: u0 on switch lan, vlan 10, trunk 20:30-39, isolated"
        assert fake.sent("switch_add") == [{"cmd": "switch_add", "hub": "lan"}]
        assert fake.sent("join") == [
            {
                "cmd": "join",
                "hub": "lan",
                "port": "u0",
                "vlan": 10,
                "trunk": [[20, 20], [30, 39]],
                "isolated": True,
            },
            {"cmd": "join", "hub": "lan", "port": "u1"},
        ]
        await port.close()
        assert fake.sent("leave") == [{"cmd": "leave", "port": "u0"}]


@pytest.mark.parametrize(
    ("netdev", "sentence"),
    [
        ("foo", "netdev 'foo' not found"),
        ("u0", "netdev 'u0' is already on hubport 'h0'"),
        ("h0", "netdev 'h0' is a hubport: hubs cannot be joined to each other"),
    ],
)
async def test_a_switchport_that_cannot_be_is_refused(netdev: str, sentence: str) -> None:
    async with lab() as (network, _):
        await network.add(user())
        await network.add(hubport("h0", 0, "u0"))
        with pytest.raises(OptionError) as error:
            await network.add(SwitchportOptions(id="p0", switch="lan", netdev=netdev))
        assert str(error.value) == sentence


async def test_a_link_is_told_to_the_worker() -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        await port.set_link(False)
        assert (port.link, fake.sent("link")) == (False, [{"cmd": "link", "port": "u0", "up": False}])
        fake.answers["link"] = refusal("option", "no")
        with pytest.raises(OptionError):
            await port.set_link(True)
        assert not port.link


async def test_a_loop_is_told_and_watched(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as (network, fake):
        await network.add(user())
        seen: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        network.watch(lambda event, data: seen.set_result((event, dict(data))))
        fake.send({"event": "loop_blocked", "port": "u0", "hub": "lan", "seconds": 10})
        data = {"netdev-id": "u0", "hub": "lan", "seconds": 10}
        assert await asyncio.wait_for(seen, 10) == ("WIREBAY_LOOP_BLOCKED", data)
        assert "port 'u0' is part of a loop" in caplog.text


async def test_a_flood_is_told_and_watched(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as (network, fake):
        await network.add(user())
        seen: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        network.watch(lambda event, data: seen.set_result((event, dict(data))))
        fake.send({"event": "storm_limited", "port": "u0", "hub": "lan"})
        data = {"netdev-id": "u0", "hub": "lan"}
        assert await asyncio.wait_for(seen, 10) == ("WIREBAY_STORM_LIMITED", data)
        assert "port 'u0' floods" in caplog.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ({"netdev": "u1"}, "Parameter 'netdev' expects a network backend id"),
        ({"netdev": "u0", "position": "id=g"}, "filter 'g' not found"),
        ({"netdev": "u2", "position": "id=b0"}, "filter 'b0' belongs to a different netdev"),
        ({"netdev": "u0", "id": "b0"}, "Duplicate ID 'b0' for object"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(text: dict[str, str], sentence: str) -> None:
    async with lab() as (network, _):
        await network.add(user("u0"))
        await network.add(user("u2"))
        await network.add_object("filter-buffer", id="b0", netdev="u0", interval=5)
        with pytest.raises(OptionError) as error:
            await network.add_object("filter-buffer", **{"id": "b1", "interval": 5, **text})  # type: ignore[arg-type]
        assert str(error.value) == sentence
        assert set(network.objects.filters) == {"b0"}


async def test_chardevs_are_found_used_once_and_given_back(tmp_path: Path) -> None:
    async with lab() as (network, _):
        await network.add(user())
        with pytest.raises(OptionError, match=r"^Device 'c0' not found$"):
            await network.add_object("filter-mirror", id="m0", netdev="u0", outdev="c0")
        with pytest.raises(OptionError, match=r"^IN Device 'c0' not found$"):
            await network.add_object("filter-redirector", id="m0", netdev="u0", indev="c0")
        await network.add_chardev(f"socket,id=c0,path={tmp_path}/c,server=on")
        with pytest.raises(OptionError, match=r"^Duplicate ID 'c0' for chardev$"):
            await network.add_chardev(f"socket,id=c0,path={tmp_path}/d,server=on")
        mirror = await network.add_object("filter-mirror", id="m0", netdev="u0", outdev="c0")
        with pytest.raises(OptionError, match=r"^Device 'c0' is in use$"):
            await network.add_object("filter-mirror", id="m1", netdev="u0", outdev="c0")
        await mirror.close()
        await network.add_object("filter-mirror", id="m1", netdev="u0", outdev="c0")
    assert not (tmp_path / "c").exists()


async def dumped(network: Network, fake: FakeWorker, file: Path, **options: object) -> DumpFilter:
    dump = await network.add_object("filter-dump", id="f0", netdev="u0", file=file, **options)
    assert isinstance(dump, DumpFilter)
    assert len(fake.fds_of(fake.sent("filter_add")[-1])) == 2
    return dump


async def test_a_capture_is_complete_when_it_is_closed(tmp_path: Path) -> None:
    before = open_descriptors()
    async with lab() as (network, fake):
        await network.add(user())
        dump = await dumped(network, fake, tmp_path / "x")
        assert fake.sent("filter_add")[-1] == {
            "cmd": "filter_add", "filter": "f0", "port": "u0", "queue": "all", "place": 0, "on": True,
            "kind": {"dump": {"format": "pcap", "maxlen": 65536, "limit": None}},
        }  # fmt: skip
        file, held = fake.fds_of(fake.sent("filter_add")[-1])
        closing = asyncio.create_task(dump.close())
        await fake.asked("filter_remove")
        os.write(file, b"the rest")
        assert not closing.done()
        os.close(held)
        await closing
        os.close(file)
        fake.fds_of(fake.sent("filter_add")[0]).clear()
        assert (tmp_path / "x").read_bytes() == b"the rest"
    assert open_descriptors() == before


async def test_a_capture_that_is_never_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wirebay.filters.dump.PATIENCE", 0.01)
    async with lab() as (network, fake):
        await network.add(user())
        dump = await dumped(network, fake, tmp_path / "x")
        with pytest.raises(WirebayError, match=r"was not written in 0.01 s$"):
            await dump.close()
        assert network.objects.filters == {}


async def test_a_full_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "x"
    async with lab() as (network, fake):
        await network.add(user())
        await dumped(network, fake, file, max_size=4096, files=2)
        for number in range(3):
            file.write_text(str(number))
            fake.send({"event": "filter_full", "filter": "f0"})
            request = await fake.asked("filter_rotate", number + 1)
            assert len(fake.fds_of(request)) == 1
            assert (file.read_text(), (tmp_path / "x.1").read_text()) == ("", str(number))
        fake.drop_fds()


async def test_a_capture_that_fails_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as (network, fake):
        await network.add(user())
        dump = await dumped(network, fake, tmp_path / "x")
        fake.send({"event": "filter_failed", "filter": "f0", "reason": "No space left on device"})
        sentence = f"filter 'f0' writes no more to '{tmp_path}/x': No space left on device"
        assert await asyncio.wait_for(dump.failed, 10) == sentence
        assert sentence in caplog.text
        fake.drop_fds()


async def test_a_file_that_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        await network.add(user())
        before = open_descriptors()
        with pytest.raises(HostError) as error:
            await network.add_object("filter-dump", id="f0", netdev="u0", file=tmp_path / "no" / "x")
        assert str(error.value) == f"Could not open '{tmp_path}/no/x': No such file or directory"
        assert (open_descriptors(), network.objects.filters, fake.sent("filter_add")) == (before, {}, [])


async def test_filters_go_with_their_port() -> None:
    async with lab() as (network, fake):
        port = await network.add(user())
        await network.add_object("filter-buffer", id="b0", netdev="u0", interval=5)
        await port.close()
        assert network.objects.filters == {}
        removed = [request["cmd"] for request in fake.sent("filter_remove", "port_remove")]
        assert removed == ["filter_remove", "port_remove"]
        port = await network.add(user())
        await network.add_object("filter-buffer", id="b0", netdev="u0", interval=5)
        fake.send({"event": "port_failed", "port": "u0", "reason": "it was deleted"})
        await port.failed
        assert network.objects.filters == {}
        assert len(fake.sent("filter_remove")) == 1
