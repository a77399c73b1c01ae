"""-netdev passt, read as a user network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from wirebay.errors import OptionError
from wirebay.options.netdev import parse_netdev
from wirebay.options.passt import ALWAYS_ON, NOT_SERVED
from wirebay.options.types import UserOptions


def read(options: str) -> UserOptions:
    netdev = parse_netdev(f"passt,id=p0{options}")
    assert isinstance(netdev, UserOptions)
    return netdev


def test_without_options_it_is_the_user_network() -> None:
    assert read(",quiet=on,path=/usr/bin/passt,vhost-user=off,tcp=on") == parse_netdev("user,id=p0")


@pytest.mark.parametrize("mask", ["20", "255.255.240.0"])
def test_addresses_and_names_find_their_place(mask: str) -> None:
    options = read(
        f",address=10.1.2.3,netmask={mask},gateway=10.1.0.1,dns-forward=10.1.0.53,fqdn=vm.example.org,search=a.org,"
        "search=b.org,mtu=9000,ipv6=off,map-host-loopback=10.1.0.1"
    )
    plan = options.ipv4
    assert plan is not None
    assert plan.net == IPv4Network("10.1.0.0/20")
    assert (plan.dhcpstart, plan.host, plan.dns) == tuple(
        map(IPv4Address, ("10.1.2.3", "10.1.0.1", "10.1.0.53"))
    )
    assert (options.hostname, options.domainname, options.dnssearch) == (
        "vm",
        "example.org",
        ("a.org", "b.org"),
    )
    assert (options.mtu, options.ipv6, options.host_loopback) == (9000, None, True)


def test_the_loopback_of_this_host_can_be_closed() -> None:
    assert not read(",map-host-loopback=none").host_loopback


@pytest.mark.parametrize(
    ("ports", "rules"),
    [
        ("tcp-ports=22", ["tcp::22-:22"]),
        ("tcp-ports=none", []),
        ("udp-ports=5000:53", ["udp::5000-:53"]),
        ("tcp-ports=127.0.0.1/8000-8010:80-90", ["tcp:127.0.0.1:8000..8010-:80"]),
        ("tcp-ports=%eth0/22,,::1/80", ["tcp:%eth0:22-:22", "tcp:[::1]:80-:80"]),
        ("tcp-ports=1,tcp-ports=2,udp-ports=3-4", ["tcp::1-:1", "tcp::2-:2", "udp::3..4-:3"]),
    ],
)
def test_ports_become_forwarding_rules(ports: str, rules: list[str]) -> None:
    assert [rule.text for rule in read(f",{ports}").hostfwd] == rules


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *((f"{name}=x", f"option '{name}' of the passt network is not served") for name in NOT_SERVED),
        *((f"{name}=off", f"option '{name}=off' of the passt network is not served") for name in ALWAYS_ON),
        ("vhost-user=on", "join a vhost-user and a user network"),
        ("freebind=on", "option 'freebind=on' of the passt network is not served"),
        ("netmask=24", "Parameter 'netmask' of the passt network needs 'address'"),
        ("address=fe80::1", "Parameter 'address' expects an IPv4 address"),
        ("address=10.0.0.9,netmask=99", "Parameter 'address' expects an IPv4 address"),
        ("map-host-loopback=1.2.3.4", "only the address given as gateway= leads to this host"),
        ("tcp-ports=all", "Parameter 'tcp-ports' expects [ADDRESS/]PORT"),
        ("udp-ports=1-3:1-2", "the ranges of '1-3:1-2' are not of one length"),
        ("tcp-ports=5-4", "Invalid host forwarding rule 'tcp::5..4-:5' (Bad host port)"),
        ("mtu=70000", "Parameter 'mtu'"),
        ("foo=1", "Invalid parameter 'foo'"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(options: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(f",{options}")
    assert sentence in str(caught.value)
