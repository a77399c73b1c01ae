"""Guests of a user network: which is pinged, and how an answer finds its question."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.control import Desk, desk, give_lease
from tests.unit.fake_worker import refusal
from wirebay.errors import HostError, OptionError
from wirebay.ports.guests import NoAnswerError, Pong, ping_numbers

pytestmark = pytest.mark.anyio


async def test_the_worker_is_told_whom_to_ping() -> None:
    async with desk() as client:
        port = await client.user()
        client.pong(ttl=60)
        pong = await port.ping("10.0.2.20", size=8)
        assert (pong.address, pong.ttl) == ("10.0.2.20", 60)
        assert pong.seconds >= 0
        (request,) = client.fake.sent("guest_ping")
        assert (request.pop("ident"), request.pop("seq")) == (1, 0)
        assert request == {"cmd": "guest_ping", "port": "u0", "addr": "10.0.2.20", "size": 8}


async def test_an_address_is_told_as_the_worker_spells_it() -> None:
    async with desk() as client:
        port = await client.user()
        client.pong()
        assert (await port.ping("FEC0:0::15")).address == "fec0::15"


async def test_the_guest_with_a_lease_is_meant_and_before_any_lease_the_first_address() -> None:
    async with desk() as client:
        port = await client.user()
        client.pong()
        assert (await port.ping()).address == "10.0.2.15"
        give_lease(port, 1)
        give_lease(port, 2)
        with pytest.raises(OptionError) as error:
            await port.ping()
        assert str(error.value) == "user network 'u0' has several guests; name one of 10.0.2.15, 10.0.2.16"


@pytest.mark.parametrize(
    ("number", "numbers"),
    [(0, (1, 0)), (65535, (1, 65535)), (65536, (2, 0)), ((1 << 32) - 65537, (65535, 65535))],
)
async def test_every_ping_has_numbers_of_its_own(number: int, numbers: tuple[int, int]) -> None:
    assert ping_numbers(number) == numbers
    assert ping_numbers(number + ((1 << 16) - 1 << 16)) == numbers


async def asked_twice(client: Desk) -> tuple[asyncio.Task[Pong], asyncio.Task[Pong]]:
    """Two pings on their way to one guest."""
    port = await client.user()
    tasks = [asyncio.create_task(port.ping("10.0.2.15", within=10)) for _ in range(2)]
    await client.fake.asked("guest_ping", 2)
    return tasks[0], tasks[1]


async def test_answers_find_their_questions_in_any_order() -> None:
    async with desk() as client:
        first, second = await asked_twice(client)
        requests = client.fake.sent("guest_ping")
        for request, ttl in zip(reversed(requests), (2, 1), strict=True):
            members = {name: request[name] for name in ("port", "addr", "ident", "seq")}
            client.fake.send({"event": "pong", "ttl": ttl, **members})
        answers = await asyncio.gather(first, second)
        assert [answer.ttl for answer in answers] == [1, 2]


@pytest.mark.parametrize(
    "change", [{"addr": "10.0.2.99"}, {"seq": 4711}, {"ident": "x"}, {"ttl": None}, {"port": "u1"}]
)
async def test_an_answer_to_nothing_is_ignored(change: dict[str, object]) -> None:
    async with desk() as client:
        port = await client.user()
        ping = asyncio.create_task(port.ping("10.0.2.15", within=10))
        request = await client.fake.asked("guest_ping")
        members = {"event": "pong", "ttl": 64, **request}
        client.fake.send({**members, **change})
        client.fake.send(members)
        client.fake.send(members)  # the network may repeat it
        assert (await ping).ttl == 64


async def test_silence_is_told_after_the_time_that_was_given() -> None:
    async with desk() as client:
        port = await client.user()
        with pytest.raises(NoAnswerError) as error:
            await port.ping(within=0.01)
        assert str(error.value) == "the guest at 10.0.2.15 did not answer a ping within 0.01 s"
        assert isinstance(error.value, HostError)


async def test_a_ping_that_the_worker_refuses_is_its_sentence() -> None:
    async with desk() as client:
        port = await client.user()
        client.fake.answers["guest_ping"] = refusal("option", "10.9.9.9 is not in the network")
        with pytest.raises(OptionError, match=r"10.9.9.9 is not in the network"):
            await port.ping("10.9.9.9")
