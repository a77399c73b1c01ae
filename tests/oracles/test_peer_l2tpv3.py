"""QEMU at the other end of an L2TPv3 tunnel, with every part a header can have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.oracles.exchange import both_ways, frame, free_udp_ports, join
from tests.oracles.rig import rig
from tests.wire.guest import Guest
from wirebay.network import Network

pytestmark = pytest.mark.anyio

SESSIONS: dict[str, object] = {"txsession": 0x11, "rxsession": 0x22}
COOKIES: dict[str, object] = {"txcookie": 0x0102030405, "rxcookie": 0xFFFFFFFFFFFFFFFF, "cookie64": True}
SHORT_COOKIES: dict[str, object] = {"txcookie": 0xDEADBEEF, "rxcookie": 1}


def theirs(options: dict[str, object]) -> str:
    """What QEMU is told: the same, the other way round."""
    swap = {"txsession": "rxsession", "txcookie": "rxcookie", "srcport": "dstport", "src": "dst"}
    swap |= {new: old for old, new in swap.items()}
    spell = {True: "on", False: "off"}
    return "".join(
        f",{swap.get(name, name)}={spell[value] if isinstance(value, bool) else value}"
        for name, value in options.items()
    )


CASES: dict[str, dict[str, object]] = {
    "plain": {},
    "one session": {"rxsession": 0x11},
    "short cookies": SHORT_COOKIES,
    "long cookies": COOKIES,
    "counter": {**COOKIES, "counter": True},
    "pinned counter": {"counter": True, "pincounter": True},
    "offset": {**COOKIES, "counter": True, "offset": 256},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ipv6", [False, True], ids=["v4", "v6"])
async def test_a_tunnel_over_udp(
    network: Network, card: Guest, tmp_path: Path, case: str, ipv6: bool
) -> None:
    host = "::1" if ipv6 else "127.0.0.1"
    srcport, dstport = map(str, free_udp_ports(2, host))
    options: dict[str, object] = {**SESSIONS, **CASES[case], "udp": True, "ipv6": ipv6}
    options |= {"src": host, "dst": host, "srcport": srcport, "dstport": dstport}
    port = await network.add("l2tpv3", id="n", **options)
    await join(network, port)
    async with rig(f"l2tpv3,id=b{theirs(options)}", tmp_path) as far:
        await both_ways(card, far, (60, 1514, 2048))  # QEMU 7.2 cuts longer ones off


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets take root")
@pytest.mark.parametrize("ipv6", [False, True], ids=["v4", "v6"])
async def test_a_tunnel_directly_over_ip(network: Network, card: Guest, tmp_path: Path, ipv6: bool) -> None:
    host, other = ("::1", "::1") if ipv6 else ("127.0.0.1", "127.0.0.2")
    options: dict[str, object] = {**SESSIONS, **COOKIES, "src": host, "dst": other, "ipv6": ipv6}
    port = await network.add("l2tpv3", id="n", **options)
    await join(network, port)
    async with rig(f"l2tpv3,id=b{theirs(options)}", tmp_path) as far:
        await both_ways(card, far)


async def test_a_message_of_another_session_is_dropped_by_name(
    network: Network, card: Guest, tmp_path: Path
) -> None:
    srcport, dstport = map(str, free_udp_ports(2))
    options: dict[str, object] = {"txsession": 1, "rxsession": 2, "udp": True}
    options |= {"src": "127.0.0.1", "dst": "127.0.0.1", "srcport": srcport, "dstport": dstport}
    port = await network.add("l2tpv3", id="n", **options)
    await join(network, port)
    async with rig(f"l2tpv3,id=b{theirs({**options, 'rxsession': 3})}", tmp_path) as far:
        await far.send(frame(1))
        while not (drops := (await network.stats())["ports"]["n"]["drops"]):
            pass
    assert set(drops) == {"tunnel_foreign"}
