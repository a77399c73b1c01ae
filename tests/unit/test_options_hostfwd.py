"""hostfwd rules: QEMU's grammar and sentences, and what is ours."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.errors import OptionError
from wirebay.options.hostfwd import parse_hostfwd


def refusal(rule: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse_hostfwd(rule)
    return str(caught.value)


@pytest.mark.parametrize("rule", ["tcp:127.0.0.1:2222-10.0.2.15:22", ":127.0.0.1:0x8ae-10.0.2.15:0x16"])
def test_a_forwarding_rule_is_read_whole(rule: str) -> None:
    forward = parse_hostfwd(rule)
    assert (forward.proto, str(forward.host_addr), forward.host_port) == ("tcp", "127.0.0.1", 2222)
    assert (str(forward.guest_addr), forward.guest_port, forward.text) == ("10.0.2.15", 22, rule)


def test_what_a_forwarding_rule_leaves_out_has_a_default() -> None:
    forward = parse_hostfwd("::0-:22")
    assert (forward.proto, forward.host_addr, forward.host_port) == ("tcp", IPv4Address("0.0.0.0"), 0)
    assert forward.guest_addr is None
    assert parse_hostfwd("udp::53-0.0.0.0:53").guest_addr is None


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "No : separators"),
        ("tcp", "No : separators"),
        ("sctp:1-2", "Bad protocol name"),
        ("tcp:80", "Missing : separator"),
        ("tcp:1.2.3.4.5:80-:80", "Bad host address"),
        ("tcp:a b:80-:80", "Bad host address"),
        ("tcp:[127.0.0.1]:80-:80", "Bad host address"),
        ("tcp:[::1:80-:80", "Bad host address"),
        ("tcp:[::1]x:80-:80", "Bad host address"),
        ("tcp:[]:80-:80", "Bad host address"),
        ("tcp:127.0.0.1%:80-:80", "Bad interface name"),
        ("tcp:%an-interface-too-long:80-:80", "Bad interface name"),
        ("tcp:%a b:80-:80", "Bad interface name"),
        ("tcp::80..-:80", "Bad host port"),
        ("tcp::80..79-:80", "Bad host port"),
        ("tcp::0..2-:80", "Bad host port"),
        ("tcp::80..65536-:80", "Bad host port"),
        ("tcp::80..82-:65534", "Bad guest port"),
        ("udp::80-:80+proxy-in", "The PROXY protocol needs tcp"),
        ("tcp::80-:80+proxy", "Bad guest port"),
        ("unix:/run/x", "Missing - separator"),
        ("unix:-:22", "Missing unix socket path"),
        ("unix:x-:22", "unix socket path must be absolute"),
        (f"unix:/{'x' * 107}-:22", "Unix socket path is too long"),
        ("unix:/run/x-", "Missing guest address"),
        ("unix:/run/x-10.0.2.15", "Missing guest address"),
        ("unix:/run/x-a b:22", "Bad guest address"),
        ("unix:/run/x-:", "Bad guest port"),
        ("tcp:127.0.0.1:80", "Bad host port separator"),
        ("tcp::-:80", "Bad host port"),
        ("tcp::x-:80", "Bad host port"),
        ("tcp::80x-:80", "Bad host port"),
        ("tcp::089-:80", "Bad host port"),
        ("tcp::65536-:80", "Bad host port"),
        ("tcp::-1-:80", "Bad host port"),
        ("tcp::80-10.0.2.15", "Missing guest address"),
        ("tcp::80-a b:80", "Bad guest address"),
        ("tcp::80-[fec0::15:80", "Bad guest address"),
        ("tcp::80-[10.0.2.15]:80", "Bad guest address"),
        ("tcp::80-:0", "Bad guest port"),
        ("tcp::80-:", "Bad guest port"),
        ("tcp::80-:80:80", "Bad guest port"),
        ("tcp::80-:65536", "Bad guest port"),
    ],
)
def test_a_wrong_forwarding_rule_is_refused_with_its_reason(rule: str, reason: str) -> None:
    assert refusal(rule) == f"Invalid host forwarding rule '{rule}' ({reason})"


def test_a_rule_may_name_ipv6_addresses_and_names_on_either_side() -> None:
    forward = parse_hostfwd("tcp:[::1]:8080-[fec0::15]:80")
    assert (forward.host_addr, forward.guest_addr) == (IPv6Address("::1"), IPv6Address("fec0::15"))
    forward = parse_hostfwd("tcp:localhost:8080-web-1.example:80")
    assert (forward.host_addr, forward.guest_addr) == ("localhost", "web-1.example")
    assert (forward.host_port, forward.guest_port) == (8080, 80)


@pytest.mark.parametrize(
    ("text", "addr", "interface"),
    [
        ("127.0.0.1%lo", "127.0.0.1", "lo"),
        ("%eth0", "0.0.0.0", "eth0"),
        ("[fe80::1%eth0]", "fe80::1", "eth0"),
        ("[fe80::1]%eth0", "fe80::1", "eth0"),
        ("[::]%eth0.7", "::", "eth0.7"),
    ],
)
def test_a_rule_may_name_an_interface(text: str, addr: str, interface: str) -> None:
    forward = parse_hostfwd(f"udp:{text}:53-:53")
    assert (str(forward.host_addr), forward.interface, forward.host_port) == (addr, interface, 53)


def test_a_rule_may_be_for_a_range_of_ports() -> None:
    forward = parse_hostfwd("tcp::8000..8010-:9000")
    assert (forward.host_port, forward.ports, forward.guest_port) == (8000, 11, 9000)
    assert parse_hostfwd("tcp::8000-:9000").ports == parse_hostfwd("tcp::80..0x50-:9000").ports == 1


@pytest.mark.parametrize(
    ("suffix", "proxy_in", "proxy_out"),
    [("", False, False), ("+proxy-in", True, False), ("+proxy-out", False, True),
     ("+proxy-in+proxy-out", True, True)],
)  # fmt: skip
def test_a_rule_may_ask_for_the_proxy_protocol(suffix: str, proxy_in: bool, proxy_out: bool) -> None:
    for rule in (f"tcp::80-:80{suffix}", f"unix:/run/x-:80{suffix}"):
        forward = parse_hostfwd(rule)
        assert (forward.proxy_in, forward.proxy_out, forward.text) == (proxy_in, proxy_out, rule)
        assert forward.guest_port == 80


@pytest.mark.parametrize("path", ["/run/x", "/run/a-b/c-d", "/", "/run/x:y", "/" + "x" * 106])
def test_a_unix_socket_is_a_path_up_to_the_last_dash(path: str) -> None:
    forward = parse_hostfwd(f"unix:{path}-10.0.2.15:22")
    assert (forward.proto, forward.host_addr, forward.host_port) == ("unix", path, 0)
    assert (forward.guest_addr, forward.guest_port) == (IPv4Address("10.0.2.15"), 22)


@given(st.text(alphabet="tcpudnix:-./%[]0123456789abf+ \0é", max_size=60))
def test_any_text_is_a_rule_or_an_option_error(rule: str) -> None:
    try:
        assert parse_hostfwd(rule).text == rule
    except OptionError:
        return
