"""guestfwd rules: QEMU's grammar and sentences, and what is ours."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lab import PLAN4, PLAN6
from wirebay.errors import OptionError
from wirebay.options.guestfwd import Target, parse_guestfwd
from wirebay.options.types import CommandTarget, GuestForward, InetTarget, UnixTarget


def refusal(rule: str, *others: GuestForward) -> str:
    with pytest.raises(OptionError) as caught:
        parse_guestfwd(rule, PLAN4, PLAN6, others)
    return str(caught.value)


def inet(host: str, port: int) -> InetTarget:
    return InetTarget(host=host, port=port)


@pytest.mark.parametrize(
    ("rule", "proto", "server", "port", "target"),
    [
        ("tcp:10.0.2.9:80-cmd:nc -U /x", "tcp", "10.0.2.9", 80, CommandTarget(command="nc -U /x")),
        (":10.0.2.9:80-cmd:a-b:c", "tcp", "10.0.2.9", 80, CommandTarget(command="a-b:c")),
        ("tcp::80-unix:/run/a-b", "tcp", "10.0.2.4", 80, UnixTarget(path="/run/a-b")),
        ("tcp:10.0.2.9:80-tcp:127.0.0.1:8080", "tcp", "10.0.2.9", 80, inet("127.0.0.1", 8080)),
        ("tcp:10.0.2.9:80-tcp:web.example:8080", "tcp", "10.0.2.9", 80, inet("web.example", 8080)),
        ("tcp:10.0.2.9:80-tcp::8080", "tcp", "10.0.2.9", 80, inet("localhost", 8080)),
        ("tcp:[fec0::9]:80-tcp:[::1]:8080", "tcp", "fec0::9", 80, inet("::1", 8080)),
        ("udp:10.0.2.9:123-udp:127.0.0.1:1123", "udp", "10.0.2.9", 123, inet("127.0.0.1", 1123)),
        ("udp:10.0.2.9:514-unix:/dev/log", "udp", "10.0.2.9", 514, UnixTarget(path="/dev/log")),
    ],
)  # fmt: skip
def test_a_rule_is_read_whole(rule: str, proto: str, server: str, port: int, target: Target) -> None:
    forward = parse_guestfwd(rule, PLAN4, PLAN6)
    assert (forward.proto, forward.server, forward.port) == (proto, ip_address(server), port)
    assert (forward.target, forward.text) == (target, rule)


@pytest.mark.parametrize(
    "rule",
    [
        "", "tcp", "sctp:10.0.2.9:80-cmd:cat", "tcp:10.0.2.9", "tcp:10.0.2.9:80", "tcp:x:80-cmd:cat",
        "tcp:[10.0.2.9]:80-cmd:cat", "tcp:[fec0::9:80-cmd:cat", "tcp:10.0.2.9:0-cmd:cat",
        "tcp:10.0.2.9:-cmd:cat",
        "tcp:10.0.2.9:65536-cmd:cat", "tcp:10.0.2.9:0x50-cmd:cat", "tcp:10.0.2.9:80-tcp:127.0.0.1",
        "tcp:10.0.2.9:80-tcp:127.0.0.1:x", "tcp:10.0.2.9:80-tcp:a b:80", "tcp:10.0.2.9:80-unix:",
        f"tcp:10.0.2.9:80-unix:/{'x' * 107}",
    ],
)  # fmt: skip
def test_a_malformed_rule_is_refused(rule: str) -> None:
    assert refusal(rule) == f"Invalid guest forwarding rule '{rule}'"


@pytest.mark.parametrize(
    "server", ["10.0.3.9", "10.0.2.2", "10.0.2.3", "[fec0::2]", "[fec0::3]", "[fd00::9]"]
)
def test_a_server_must_be_a_free_address_of_the_network(server: str) -> None:
    rule = f"tcp:{server}:80-cmd:cat"
    assert refusal(rule) == f"Conflicting/invalid host:port in guest forwarding rule '{rule}'"


def test_a_server_needs_its_family() -> None:
    rule = "tcp:[fec0::9]:80-cmd:cat"
    with pytest.raises(OptionError, match="Conflicting/invalid host:port"):
        parse_guestfwd(rule, PLAN4, None)
    with pytest.raises(OptionError, match="Invalid guest forwarding rule 'tcp::80-cmd:cat'"):
        parse_guestfwd("tcp::80-cmd:cat", None, PLAN6)


def test_two_rules_for_one_place_conflict_and_those_for_two_protocols_do_not() -> None:
    first = parse_guestfwd("tcp::80-cmd:cat", PLAN4, PLAN6)
    rule = "tcp:10.0.2.4:80-unix:/x"
    assert refusal(rule, first) == f"Conflicting/invalid host:port in guest forwarding rule '{rule}'"
    assert parse_guestfwd("udp:10.0.2.4:80-unix:/x", PLAN4, PLAN6, [first]).proto == "udp"


@pytest.mark.parametrize(
    ("rule", "device", "served"),
    [
        ("tcp::80-bogus:x", "guestfwd.tcp.80': 'bogus:x'", "cmd:, tcp: and unix:"),
        ("tcp::80-stdio", "guestfwd.tcp.80': 'stdio'", "cmd:, tcp: and unix:"),
        ("tcp::80-udp:127.0.0.1:80", "guestfwd.tcp.80': 'udp:127.0.0.1:80'", "cmd:, tcp: and unix:"),
        ("udp::80-cmd:cat", "guestfwd.udp.80': 'cmd:cat'", "udp: and unix:"),
    ],
)
def test_a_target_that_is_none_is_refused_as_a_device(rule: str, device: str, served: str) -> None:
    assert refusal(rule) == f"Could not open guest forwarding device '{device} is not one of {served}"


@given(st.text(alphabet="tcpudnixm:-./%[]0123456789abf \0é", max_size=60))
def test_any_text_is_a_rule_or_an_option_error(rule: str) -> None:
    try:
        assert parse_guestfwd(rule, PLAN4, PLAN6).text == rule
    except OptionError:
        return
