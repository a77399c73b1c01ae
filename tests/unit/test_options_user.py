"""-netdev user: defaults, checks and sentences, as the real QEMU has them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from wirebay.errors import OptionError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.netdev import UserOptions, netdev_from_dict, parse_netdev


def user(options: str) -> UserOptions:
    netdev = parse_netdev(f"user,id=u0,{options}")
    assert isinstance(netdev, UserOptions)
    return netdev


def refusal(options: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse_netdev(f"user,id=u0,{options}")
    return str(caught.value)


def test_the_defaults_are_qemus() -> None:
    assert user("") == UserOptions(
        id="u0",
        net=IPv4Network("10.0.2.0/24"),
        host=IPv4Address("10.0.2.2"),
        dns=IPv4Address("10.0.2.3"),
        dhcpstart=IPv4Address("10.0.2.15"),
        hostname=None,
        restrict=False,
        hostfwd=(),
        mtu=1500,
        host_loopback=True,
    )


def test_every_option_is_read() -> None:
    options = user(
        "net=192.168.76.9/24,host=192.168.76.1,dns=9.9.9.9,dhcpstart=192.168.76.100,hostname=vm,"
        "hostfwd=udp:127.0.0.1:5353-192.168.76.100:53,hostfwd=::0x50-:80,mtu=65520,host-loopback=off,ipv4=on"
    )
    assert str(options.net) == "192.168.76.0/24"
    assert (str(options.host), str(options.dns), str(options.dhcpstart)) == (
        "192.168.76.1",
        "9.9.9.9",
        "192.168.76.100",
    )
    assert (options.hostname, options.mtu, options.host_loopback) == ("vm", 65520, False)
    assert [rule.text for rule in options.hostfwd] == [
        "udp:127.0.0.1:5353-192.168.76.100:53",
        "::0x50-:80",
    ]


@pytest.mark.parametrize(
    ("net", "result", "host", "dns", "dhcpstart"),
    [
        ("10.0.0.0", "10.0.0.0/8", "10.0.2.2", "10.0.2.3", "10.0.2.15"),
        ("172.20.1.1", "172.16.0.0/12", "172.16.2.2", "172.16.2.3", "172.16.2.15"),
        ("130.1.2.3", "130.1.0.0/16", "130.1.2.2", "130.1.2.3", "130.1.2.15"),
        ("192.168.7.0", "192.168.0.0/16", "192.168.2.2", "192.168.2.3", "192.168.2.15"),
        ("198.18.0.0", "198.18.0.0/15", "198.18.2.2", "198.18.2.3", "198.18.2.15"),
        ("225.0.0.0", "225.0.0.0/24", "225.0.0.2", "225.0.0.3", "225.0.0.15"),
        ("203.0.113.0", "203.0.113.0/28", "203.0.113.2", "203.0.113.3", "203.0.113.15"),
        ("10.1.0.0/255.255.0.0", "10.1.0.0/16", "10.1.2.2", "10.1.2.3", "10.1.2.15"),
        ("0x0a010000/16", "10.1.0.0/16", "10.1.2.2", "10.1.2.3", "10.1.2.15"),
        ("10.5.0.0/29", "10.5.0.0/29", "10.5.0.2", "10.5.0.3", "10.5.0.7"),
    ],
)
def test_net_implies_a_mask_and_the_other_addresses(
    net: str, result: str, host: str, dns: str, dhcpstart: str
) -> None:
    options = user(f"net={net}")
    assert (str(options.net), str(options.host), str(options.dns), str(options.dhcpstart)) == (
        result,
        host,
        dns,
        dhcpstart,
    )


def test_ip_is_a_net_of_24_bits_and_net_wins_over_it() -> None:
    assert str(user("ip=10.9.8.7").net) == "10.9.8.0/24"
    assert str(user("ip=10.9.8.7,net=10.1.2.0/25").net) == "10.1.2.0/25"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("net=", "Failed to parse netmask"),
        ("net=bogus", "Failed to parse netmask"),
        ("net=10.0.2.0/24x", "Failed to parse netmask (trailing chars)"),
        ("net=10.0.2.0/", "Invalid netmask provided (must be in range 4-32)"),
        ("net=10.0.2.0/3", "Invalid netmask provided (must be in range 4-32)"),
        ("net=10.0.2.0/33", "Invalid netmask provided (must be in range 4-32)"),
        (
            "net=10.0.0.0/255.0.255.0",
            "Invalid netmask provided ('255.0.255.0' has holes, or is shorter than 4 bits)",
        ),
        ("net=10.0.0.0/0.0.0.0", "Invalid netmask provided ('0.0.0.0' has holes, or is shorter than 4 bits)"),
        ("ip=10.0.3.0/8", "Failed to parse netmask (trailing chars)"),
        ("host=x", "Failed to parse host"),
        ("host=10.0.3.2", "Host doesn't belong to network"),
        ("dns=x", "Failed to parse DNS"),
        ("dns=1.1.1.1,restrict=on", "DNS doesn't belong to network"),
        ("dns=10.0.2.2", "DNS must be different from host"),
        ("net=10.0.2.0/32", "DNS must be different from host"),
        ("dhcpstart=x", "Failed to parse DHCP start address"),
        ("dhcpstart=10.0.3.15", "DHCP doesn't belong to network"),
        ("dhcpstart=10.0.2.2", "DHCP must be different from host and DNS"),
        ("dhcpstart=10.0.2.3", "DHCP must be different from host and DNS"),
        ("net=10.0.2.0/30", "DHCP must be different from host and DNS"),
        (f"hostname={'x' * 256}", "'vhostname' parameter cannot exceed 255 bytes"),
        ("ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
        ("ipv4=off,net=10.0.2.0/24", "IPv4 disabled but netmask/host/dns provided"),
        ("ipv4=off,ipv6=off,dns=10.0.2.3", "IPv4 disabled but netmask/host/dns provided"),
        ("ipv6=on,host=10.0.2.2", "IPv4 disabled but netmask/host/dns provided"),
        ("restrict=1", "Parameter 'restrict' expects 'on' or 'off'"),
        ("mtu=x", "Parameter 'mtu' expects an int64 value"),
        ("mtu=67", "Parameter 'mtu' expects a number from 68 to 65520"),
        ("mtu=65521", "Parameter 'mtu' expects a number from 68 to 65520"),
        ("host-loopback=maybe", "Parameter 'host-loopback' expects 'on' or 'off'"),
        ("foo=1", "Invalid parameter 'foo'"),
        ("net=bogus,foo=1", "Invalid parameter 'foo'"),
        ("restrict=bad,foo=1", "Parameter 'restrict' expects 'on' or 'off'"),
        ("=5", "Invalid parameter ''"),
        ("hostfwd.0.str=x", "Invalid parameter 'hostfwd.0.str'"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options: str, sentence: str) -> None:
    assert refusal(options) == sentence


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("tftp=/srv", "option 'tftp' of the user network"),
        ("bootfile=/pxe", "option 'bootfile' of the user network"),
        ("smb=/home", "option 'smb' of the user network"),
        ("guestfwd=tcp:10.0.2.4:80-cmd:cat", "option 'guestfwd' of the user network"),
        ("dnssearch=a,dnssearch=b", "option 'dnssearch' of the user network"),
        ("domainname=x", "option 'domainname' of the user network"),
        ("ipv6-net=fd00::/64", "option 'ipv6-net' of the user network"),
        ("ipv6=on", "option 'ipv6=on' of the user network"),
        ("ipv4=on,ipv6=on", "option 'ipv6=on' of the user network"),
        ("ipv4=off", "option 'ipv4=off' of the user network"),
        ("hostfwd=unix:/run/x-:22", "option 'hostfwd=unix:/run/x-:22' of the user network"),
    ],
)
def test_what_qemu_has_and_wirebay_not_yet_is_refused_by_name(options: str, what: str) -> None:
    assert refusal(options) == f"{what} is not served by this version of wirebay"


def test_naming_what_is_the_default_anyway_is_no_error() -> None:
    assert user("ipv4=on") == user("ipv6=off") == user("ipv4=on,ipv6=off,restrict=no") == user("")


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
        ("tcp:localhost:80-:80", "Bad host address"),
        ("tcp:[::1]:80-:80", "Bad host address"),
        ("tcp:127.0.0.1:80", "Bad host port separator"),
        ("tcp::-:80", "Bad host port"),
        ("tcp::x-:80", "Bad host port"),
        ("tcp::80x-:80", "Bad host port"),
        ("tcp::089-:80", "Bad host port"),
        ("tcp::65536-:80", "Bad host port"),
        ("tcp::-1-:80", "Bad host port"),
        ("tcp::80-10.0.2.15", "Missing guest address"),
        ("tcp::80-guest:80", "Bad guest address"),
        ("tcp::80-:0", "Bad guest port"),
        ("tcp::80-:", "Bad guest port"),
        ("tcp::80-:80:80", "Bad guest port"),
        ("tcp::80-:65536", "Bad guest port"),
    ],
)
def test_a_wrong_forwarding_rule_is_refused_with_its_reason(rule: str, reason: str) -> None:
    assert refusal(f"hostfwd={rule}") == f"Invalid host forwarding rule '{rule}' ({reason})"


@pytest.mark.parametrize("rules", [[{"str": "tcp::1-:2"}], ["tcp::1-:2"], ({"str": "tcp::1-:2"},)])
def test_json_and_python_give_lists_as_lists(rules: object) -> None:
    options = netdev_from_dict(
        {"type": "user", "id": "u0", "hostfwd": rules, "restrict": True, "mtu": 9000, "hostname": None}
    )
    assert isinstance(options, UserOptions)
    assert options.restrict
    assert options.mtu == 9000
    assert options.hostfwd == (parse_hostfwd("tcp::1-:2"),)


def test_python_gives_addresses_as_addresses() -> None:
    options = netdev_from_dict(
        {"type": "user", "id": "u0", "net": IPv4Network("10.7.0.0/16"), "host": IPv4Address("10.7.0.1")}
    )
    assert options == parse_netdev("user,id=u0,net=10.7.0.0/16,host=10.7.0.1")


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ('"restrict":"on"', "Invalid parameter type for 'restrict', expected: boolean"),
        ('"mtu":"9000"', "Invalid parameter type for 'mtu', expected: integer"),
        ('"mtu":true', "Invalid parameter type for 'mtu', expected: integer"),
        ('"net":["10.0.2.0"]', "Invalid parameter type for 'net', expected: string"),
        ('"net":true', "Invalid parameter type for 'net', expected: string"),
        ('"hostfwd":"tcp::1-:2"', "Invalid parameter type for 'hostfwd', expected: array"),
        ('"hostfwd":[1]', "Invalid parameter type for 'hostfwd[0]', expected: object"),
        ('"hostfwd":["tcp::1-:2",{}]', "Parameter 'hostfwd[1].str' is missing"),
        ('"hostfwd":[{"str":"tcp::1-:2","x":1}]', "Parameter 'hostfwd[0].x' is unexpected"),
        ('"foo":1', "Parameter 'foo' is unexpected"),
    ],
)
def test_a_json_member_of_the_wrong_type_is_refused_in_qemus_words(member: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_netdev(f'{{"type":"user","id":"u0",{member}}}')
    assert str(caught.value) == sentence
