"""The host's resolvers: reading resolv.conf, and noticing that it changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.resolver import (
    EMPTY_LOOKS,
    Address,
    follow_resolvers,
    parse_resolvers,
    read_resolvers,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("nameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("nameserver\t192.0.2.1   # the router\n", ["192.0.2.1"]),
        ("nameserver 2001:db8::1\nnameserver 192.0.2.1", ["2001:db8::1", "192.0.2.1"]),
        ("# nameserver 192.0.2.9\n;nameserver 192.0.2.9\nnameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("search example.org\noptions edns0\nnameserver 192.0.2.1\n", ["192.0.2.1"]),
        (" nameserver 192.0.2.9\nnameservers 192.0.2.9\nnameserver\nnameserver x\n", []),
        ("nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n", ["192.0.2.1", "192.0.2.2"]),
        (
            "".join(f"nameserver 192.0.2.{last}\n" for last in range(1, 6)),
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
        ),
        ("nameserver 2001:db8::1%eth0\n", ["2001:db8::1"]),
        ("nameserver fe80::1%wlan0\nnameserver 192.0.2.1\n", ["192.0.2.1", "fe80::1"]),
    ],
)
def test_name_servers_are_read_as_resolv_conf_5_says(text: str, expected: list[str]) -> None:
    assert parse_resolvers(text) == [ip_address(address) for address in expected]


@given(st.text() | st.lists(st.text(max_size=20).map("nameserver ".__add__)).map("\n".join))
def test_any_text_gives_at_most_three_servers(text: str) -> None:
    assert len(parse_resolvers(text)) <= 3


def test_a_file_that_cannot_be_read_has_no_servers(tmp_path: Path) -> None:
    assert read_resolvers(str(tmp_path / "missing")) == []
    assert read_resolvers(str(tmp_path)) == []


def test_bytes_that_are_not_text_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"\xff\xfe\nnameserver 192.0.2.1\n\x80")
    assert read_resolvers(str(path)) == [ip_address("192.0.2.1")]


async def told(path: Path, *changes: Callable[[], object]) -> list[list[str]]:
    """What the follower says when one change is made before each of its looks; then one look without a
    change."""
    heard: list[list[str]] = []
    left: list[Callable[[], object]] = [*changes, lambda: None]

    async def hear(servers: list[Address]) -> None:
        heard.append([str(server) for server in servers])

    async def pause(_: float) -> None:
        if not left:
            raise asyncio.CancelledError
        left.pop(0)()

    with pytest.raises(asyncio.CancelledError):
        await follow_resolvers(hear, str(path), pause=pause)
    return heard


def say(path: Path, *servers: str) -> Callable[[], object]:
    return lambda: path.write_text("".join(f"nameserver {server}\n" for server in servers))


@pytest.mark.anyio
async def test_the_servers_are_told_at_once_and_then_only_when_they_changed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    say(path, "192.0.2.1")()
    comment = lambda: path.write_text("nameserver 192.0.2.1\n# touched\n")  # noqa: E731
    heard = await told(path, lambda: None, comment, say(path, "192.0.2.2", "192.0.2.3"))
    assert heard == [["192.0.2.1"], ["192.0.2.2", "192.0.2.3"]]


@pytest.mark.anyio
async def test_a_file_that_is_replaced_behind_a_symbolic_link_is_noticed(tmp_path: Path) -> None:
    link, target, fresh = tmp_path / "resolv.conf", tmp_path / "run-resolv.conf", tmp_path / "fresh"
    say(target, "192.0.2.1")()
    link.symlink_to(target)
    say(fresh, "192.0.2.2")()
    assert await told(link, lambda: fresh.rename(target)) == [["192.0.2.1"], ["192.0.2.2"]]


@pytest.mark.anyio
async def test_a_link_that_is_pointed_elsewhere_is_noticed(tmp_path: Path) -> None:
    link, one, two = tmp_path / "resolv.conf", tmp_path / "one", tmp_path / "two"
    say(one, "192.0.2.1")()
    say(two, "192.0.2.2")()
    link.symlink_to(one)

    def repoint() -> None:
        link.unlink()
        link.symlink_to(two)

    assert await told(link, repoint) == [["192.0.2.1"], ["192.0.2.2"]]


@pytest.mark.anyio
async def test_a_file_that_is_being_rewritten_does_not_take_the_servers_away(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    say(path, "192.0.2.1")()
    heard = await told(path, path.unlink, lambda: path.write_text(""), say(path, "192.0.2.2"))
    assert heard == [["192.0.2.1"], ["192.0.2.2"]]


@pytest.mark.anyio
async def test_a_file_that_stays_empty_or_away_takes_the_servers_away_and_can_bring_them_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "resolv.conf"
    for go_empty in (path.unlink, lambda: path.write_text("# none\n")):
        say(path, "192.0.2.1")()
        waits: list[Callable[[], object]] = [lambda: None] * (EMPTY_LOOKS - 2)
        assert await told(path, go_empty, *waits) == [["192.0.2.1"], []]
        say(path, "192.0.2.1")()
        assert await told(path, go_empty, *waits, say(path, "192.0.2.1")) == [["192.0.2.1"]]
        say(path, "192.0.2.1")()
        heard = await told(path, go_empty, *waits, *waits, say(path, "192.0.2.1"))
        assert heard == [["192.0.2.1"], [], ["192.0.2.1"]]


@pytest.mark.anyio
async def test_a_host_without_resolvers_says_so_and_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert await told(path, say(path, "192.0.2.1")) == [[], ["192.0.2.1"]]
