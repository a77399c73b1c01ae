"""TAP ports: whose descriptor goes to the worker, and that none stays here."""

from __future__ import annotations

import os

import pytest

from tests.unit.fake_worker import refusal
from tests.unit.lab import lab
from wirebay import netns
from wirebay.errors import HostError
from wirebay.options.types import TapOptions
from wirebay.ports import tap as tap_module
from wirebay.tun import Tap

pytestmark = pytest.mark.anyio


def some_tap() -> Tap:
    """Anything with a descriptor."""
    read, write = os.pipe()
    os.close(read)
    return Tap(write, "tap7", ["csum", "tso4"])


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_a_tap_of_the_caller_is_taken_over() -> None:
    tap = some_tap()
    async with lab() as (network, fake):
        port = await network.add("tap", id="t0", tap=tap, mtu=1500)
        assert fake.sent("tap_add") == [
            {"cmd": "tap_add", "port": "t0", "offloads": ["csum", "tso4"], "mtu": 1500}
        ]
        assert len(fake.fds_of(fake.requests[0])) == 1
        assert not is_open(tap.fd)
        assert port.describe() == "t0: tap tap7"


async def test_a_tap_that_the_worker_refuses_is_closed() -> None:
    tap = some_tap()
    async with lab() as (network, fake):
        fake.answers["tap_add"] = refusal("host", "no TAP")
        with pytest.raises(HostError, match="no TAP"):
            await network.add("tap", id="t0", tap=tap)
        assert not is_open(tap.fd)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TapOptions(id="t0", ifname="tap3"), ("open_tap", ("tap3",), {"vnet_hdr": None})),
        (TapOptions(id="t0", fd=9, vnet_hdr=True), ("adopt_tap", (9,), {"vnet_hdr": True})),
        (
            TapOptions(id="t0", ifname="tap3", netns="/proc/1/ns/net", vnet_hdr=False),
            ("open_tap_in", ("/proc/1/ns/net", "tap3"), {"vnet_hdr": False}),
        ),
    ],
)
async def test_options_say_where_the_tap_comes_from(
    monkeypatch: pytest.MonkeyPatch, options: TapOptions, expected: tuple[object, ...]
) -> None:
    calls: list[tuple[object, ...]] = []

    def spy(name: str) -> object:
        def call(*arguments: object, **keywords: object) -> Tap:
            calls.append((name, arguments, keywords))
            return some_tap()

        return call

    monkeypatch.setattr(tap_module, "open_tap", spy("open_tap"))
    monkeypatch.setattr(tap_module, "adopt_tap", spy("adopt_tap"))
    monkeypatch.setattr(netns, "open_tap_in", spy("open_tap_in"))
    async with lab() as (network, _):
        await network.add(options)
    assert calls == [expected]
