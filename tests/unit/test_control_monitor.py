"""The human monitor. Every expected answer but those about ports of ours is QEMU 7.2's, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.control import Desk, desk
from tests.unit.lab import hubport, unix_server, user
from tests.unit.test_ports_forwards import free_ports

pytestmark = pytest.mark.anyio

HEAD = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
ADD = (
    "hostfwd_add [netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport -- "
    "redirect TCP or UDP connections from host to guest (requires -net user)\r\n"
)
INFO = (
    "info network  -- show the network state\r\n"
    "info usernet  -- show user network stack connection states\r\n"
)


async def two_networks(client: Desk, path: Path) -> None:
    """User networks u0, alone, and u1, on hub 0; a stream port s0, alone."""
    await client.user("u0")
    await client.user("u1")
    await client.network.add(hubport("h0", 0, "u1"))
    await client.network.add(unix_server("s0", path))


async def test_info_network_shows_hubs_and_what_is_alone(tmp_path: Path) -> None:
    async with desk() as client:
        await two_networks(client, tmp_path / "sock")
        await client.network.add(hubport("h1", 3, None))
        assert await client.hmp("  info   network") == (
            "hub 0\r\n"
            " \\ h0: u1: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
            "hub 3\r\n"
            " \\ h1\r\n"
            "u0: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
            "s0: index=0,type=stream,listening\r\n"
        )


async def test_info_network_shows_ports_that_were_joined_without_hubports() -> None:
    async with desk() as client:
        await client.network.join(await client.network.add(user()))
        line = "u0: index=0,type=user,net=10.0.2.0,restrict=off"
        assert await client.hmp("info network") == f"hub #1\r\n \\ {line}\r\n"


async def test_info_usernet_has_qemus_columns(tmp_path: Path) -> None:
    async with desk() as client:
        await two_networks(client, tmp_path / "sock")
        await client.hmp("hostfwd_add u0 tcp:127.0.0.1:0-:22")
        await client.hmp("hostfwd_add u0 udp::0-10.0.2.99:53")
        first, second = (port["host-port"] for port in await client.ask("wirebay-query-forwards"))
        assert await client.hmp("info usernet") == (
            f"Hub -1 (u0):\r\n{HEAD}"
            f"  TCP[HOST_FORWARD]   0       127.0.0.1 {first:5}       10.0.2.15    22     0     0\r\n"
            f"  UDP[HOST_FORWARD]   0               * {second:5}       10.0.2.99    53     0     0\r\n"
            f"Hub 0 (u1):\r\n{HEAD}"
        )


async def test_info_usernet_has_a_line_for_every_port(tmp_path: Path) -> None:
    async with desk() as client:
        await client.network.add("user", id="u0", ipv4=False)
        await client.hmp(f"hostfwd_add unix:{tmp_path}/s-:22")
        first = free_ports(2)
        ports = f"tcp:[::1]:{first}..{first + 1}"
        assert await client.hmp(f"hostfwd_add {ports}-:80") == ""
        lines = (await client.hmp("info usernet")).splitlines()[2:]
        assert [line.split()[2:6] for line in lines] == [
            [f"{tmp_path}/s", "0", "fec0::15", "22"],
            ["::1", f"{first}", "fec0::15", "80"],
            ["::1", f"{first + 1}", "fec0::15", "81"],
        ]
        assert "net=fec0::,restrict=off" in await client.hmp("info network")
        for name in (f"unix:{tmp_path}/s", ports):
            removed = f"host forwarding rule for {name} removed\r\n"
            assert await client.hmp(f"hostfwd_remove {name}") == removed


async def test_without_a_name_the_first_user_network_is_meant(tmp_path: Path) -> None:
    async with desk() as client:
        await two_networks(client, tmp_path / "sock")
        assert await client.hmp("hostfwd_add tcp:127.0.0.1:0-:22") == ""
        (forward,) = await client.ask("wirebay-query-forwards")
        assert forward["netdev-id"] == "u0"
        name = f"tcp:127.0.0.1:{forward['host-port']}"
        assert await client.hmp(f"hostfwd_remove {name}") == f"host forwarding rule for {name} removed\r\n"
        assert await client.hmp(f"hostfwd_remove {name}") == f"host forwarding rule for {name} not found\r\n"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("hostfwd_add zz tcp::0-:2", "unrecognized netdev id 'zz'"),
        ("hostfwd_add s0 tcp::0-:2", "invalid device specified"),
        ("hostfwd_add u0 tcp:bad", "Invalid host forwarding rule 'tcp:bad' (Missing : separator)"),
        (
            "hostfwd_add u0 tcp:127.0.0.1:0",
            "Invalid host forwarding rule 'tcp:127.0.0.1:0' (Bad host port separator)",
        ),
        ("hostfwd_add 'u0' x", "unrecognized netdev id ''u0''"),
        ("hostfwd_remove zz tcp:127.0.0.1:1", "unrecognized netdev id 'zz'"),
        ("hostfwd_remove u0 bad", "invalid format"),
        ("hostfwd_remove u0 tcp:127.0.0.1", "invalid format"),
        ("hostfwd_remove u0 tcp:127.0.0.1:1-:22", "invalid format"),
        ("hostfwd_remove u0 tcp:127.0.0.1:1", "host forwarding rule for tcp:127.0.0.1:1 not found"),
        ("foo", "unknown command: 'foo'"),
        ("info foo", "unknown command: 'info foo'"),
        ('info "network"', "unknown command: 'info \"network\"'"),
        ("help foo", "unknown command: 'foo'"),
    ],
)
async def test_what_goes_wrong_is_the_answer(line: str, answer: str, tmp_path: Path) -> None:
    async with desk() as client:
        await two_networks(client, tmp_path / "sock")
        assert await client.hmp(line) == f"{answer}\r\n"
        assert await client.ask("wirebay-query-forwards") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("hostfwd_add", "hostfwd_add: string expected"),
        ("hostfwd_remove", "hostfwd_remove: string expected"),
        ("hostfwd_add a b c", "hostfwd_add: extraneous characters at the end of line"),
        ("info network x", "network: extraneous characters at the end of line"),
    ],
)
async def test_the_wrong_number_of_words_is_told(line: str, problem: str) -> None:
    async with desk() as client:
        name = "info network" if line.startswith("info") else line.split()[0]
        assert await client.hmp(line) == f'{problem}\r\nTry "help {name}" for more information\r\n'


async def test_an_address_that_cannot_be_had_is_told_with_the_reason() -> None:
    async with desk() as client:
        await client.user()
        rule = "tcp:192.0.2.1:80-:80"
        answer = await client.hmp(f"hostfwd_add {rule}")
        assert answer.startswith(f"Could not set up host forwarding rule '{rule}'")


async def test_without_a_user_network_there_is_no_stack() -> None:
    async with desk() as client:
        assert await client.hmp("hostfwd_add tcp::0-:1") == "user mode network stack not in use\r\n"
        assert await client.hmp("info usernet") == ""
        assert await client.hmp("") == ""


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("help help", "help|? [cmd] -- show the help\r\n"),
        ("help hostfwd_add", ADD),
        ("? hostfwd_add", ADD),
        ("help info", INFO),
        ("info", INFO),
        ("help info network", "info network  -- show the network state\r\n"),
    ],
)
async def test_help_is_qemus(line: str, answer: str) -> None:
    async with desk() as client:
        assert await client.hmp(line) == answer
        assert answer in await client.hmp("help")
