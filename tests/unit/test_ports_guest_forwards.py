"""guestfwd rules that come and go while the network runs: what the worker is told, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from tests.unit.control import Desk, desk
from tests.unit.fake_worker import Request, refusal
from tests.unit.lab import open_descriptors, until
from wirebay.errors import HostError, OptionError
from wirebay.options.guestfwd import parse_guestfwd
from wirebay.ports.guest_forwards import GuestForwards, server_text, target_text

pytestmark = pytest.mark.anyio

ECHO = "tcp:10.0.2.100:7-cmd:cat"


async def forwards(client: Desk, **options: object) -> GuestForwards:
    """Those of a user network."""
    return (await client.user("u0", **options)).guest_forwards


def told(client: Desk) -> list[Request]:
    """What the worker was told of rules."""
    requests = client.fake.sent("service_add", "service_remove")
    return [request for request in requests if request["service"].startswith("guestfwd/")]


async def test_a_rule_is_told_to_the_worker_and_taken_back() -> None:
    async with desk() as client:
        rules = await forwards(client)
        opened = await rules.add(ECHO)
        assert list(rules.rules) == [opened]
        service = {"port": "u0", "service": "guestfwd/tcp/10.0.2.100/7"}
        place = {"proto": "tcp", "addr": "10.0.2.100", "service_port": 7}
        assert told(client) == [{"cmd": "service_add", **service, **place}]
        await rules.remove(opened)
        assert not rules.rules
        assert told(client)[1:] == [{"cmd": "service_remove", **service}]


@pytest.mark.parametrize(
    ("added", "removed"),
    [
        (ECHO, ECHO),
        (ECHO, "tcp:10.0.2.100:7"),
        (ECHO, ":10.0.2.100:7"),
        ("tcp::7-cmd:cat", "tcp::7"),
        ("tcp::7-cmd:cat", "tcp:10.0.2.4:7"),
        ("udp:[fec0::7]:7-udp:127.0.0.1:7", "udp:[fec0::7]:7"),
    ],
)
async def test_a_rule_is_closed_by_any_of_its_names(added: str, removed: str) -> None:
    async with desk() as client:
        rules = await forwards(client)
        await rules.add("tcp:10.0.2.101:7-cmd:cat")
        await rules.add(added)
        await rules.remove(removed)
        assert [rule.text for rule in rules.rules] == ["tcp:10.0.2.101:7-cmd:cat"]
        await rules.add(added)


@pytest.mark.parametrize("name", ["tcp:10.0.2.100:8", "udp:10.0.2.100:7", "nonsense", ""])
async def test_a_rule_that_is_not_open_cannot_be_closed(name: str) -> None:
    async with desk() as client:
        rules = await forwards(client)
        await rules.add(ECHO)
        with pytest.raises(OptionError) as error:
            await rules.remove(name)
        assert str(error.value) == f"guest forwarding rule '{name}' is not open"


async def test_without_ipv4_a_name_without_a_server_means_nothing() -> None:
    async with desk() as client:
        rules = await forwards(client, ipv4=False)
        with pytest.raises(OptionError, match="guest forwarding rule 'tcp::7' is not open"):
            await rules.remove("tcp::7")


async def test_a_connection_is_brought_to_a_rule_while_it_is_open() -> None:
    async with desk() as client:
        rules = await forwards(client)
        await rules.add(ECHO)
        event: dict[str, object] = {"event": "service_connect", "port": "u0"}
        event |= {"service": "guestfwd/tcp/10.0.2.100/7", "client": "10.0.2.15", "client_port": 4000}
        client.fake.send({**event, "connection": 1})
        (fd,) = client.fake.fds_of(await client.fake.asked("service_attach"))
        with socket.socket(fileno=os.dup(fd)) as far:
            client.fake.drop_fds()
            far.setblocking(False)
            far.send(b"hello")
            assert await asyncio.get_running_loop().sock_recv(far, 10) == b"hello"
            await rules.remove(ECHO)
            far.send(b"still there")
            assert await asyncio.get_running_loop().sock_recv(far, 20) == b"still there"
        client.fake.send({**event, "connection": 2})
        assert (await client.fake.asked("service_refuse"))["connection"] == 2


@pytest.mark.parametrize("rule", [ECHO, "udp:10.0.2.100:7-udp:127.0.0.1:7"])
async def test_a_place_is_given_once_and_is_free_again(rule: str) -> None:
    async with desk() as client:
        rules = await forwards(client)
        outcomes = await asyncio.gather(rules.add(rule), rules.add(rule), return_exceptions=True)
        sentence = f"Conflicting/invalid host:port in guest forwarding rule '{rule}'"
        assert [str(outcome) for outcome in outcomes if isinstance(outcome, OptionError)] == [sentence]
        with pytest.raises(OptionError, match="Conflicting/invalid host:port"):
            await rules.add(rules.rules[0])
        await rules.remove(rule)
        await rules.add(rule)


@pytest.mark.parametrize("rule", [ECHO, "udp:10.0.2.100:7-udp:127.0.0.1:7"])
async def test_a_rule_that_the_worker_refuses_leaves_nothing(rule: str) -> None:
    async with desk() as client:
        rules = await forwards(client)
        client.fake.answers["service_add"] = refusal("host", "no room")
        with pytest.raises(HostError, match="no room"):
            await rules.add(rule)
        assert not rules.rules
        del client.fake.answers["service_add"]
        await rules.add(rule)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("tcp:bad", "Invalid guest forwarding rule 'tcp:bad'"),
        ("tcp:10.0.2.2:7-cmd:cat", "Conflicting/invalid host:port in guest forwarding rule '{}'"),
        ("tcp:10.0.2.9:7-cmd:", "Invalid guest forwarding rule '{}'"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_in_qemus_words(rule: str, sentence: str) -> None:
    async with desk() as client:
        rules = await forwards(client)
        with pytest.raises(OptionError) as error:
            await rules.add(rule)
        assert str(error.value) == sentence.format(rule)
        assert not rules.rules
        assert told(client) == []


async def test_datagrams_that_are_on_their_way_end_with_the_rule(tmp_path: Path) -> None:
    before = open_descriptors()
    async with desk() as client:
        rules = await forwards(client)
        await rules.add(f"udp:10.0.2.100:7-unix:{tmp_path}/none")
        await rules.remove("udp:10.0.2.100:7")
        assert rules.drops() == {}
    await until(lambda: open_descriptors() <= before)


@pytest.mark.parametrize(
    ("rule", "server", "target"),
    [
        ("tcp:10.0.2.9:80-tcp:localhost:8080", "tcp:10.0.2.9:80", "tcp:localhost:8080"),
        ("udp:[fec0::9]:53-udp:[::1]:5353", "udp:[fec0::9]:53", "udp:[::1]:5353"),
        ("tcp::7-unix:/run/a-b", "tcp:10.0.2.4:7", "unix:/run/a-b"),
        (":10.0.2.9:7-cmd:cat -u", "tcp:10.0.2.9:7", "cmd:cat -u"),
    ],
)
async def test_both_ends_are_told_as_rules_spell_them(rule: str, server: str, target: str) -> None:
    async with desk() as client:
        options = (await client.user()).options
        parsed = parse_guestfwd(rule, options.ipv4, options.ipv6)
        assert (server_text(parsed), target_text(parsed)) == (server, target)
