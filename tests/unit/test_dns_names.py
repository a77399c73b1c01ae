"""The names that the user network itself knows."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.options.types import Address
from wirebay.services.dns_names import LocalNames, reverse_address, reverse_name

HOST4, HOST6 = ip_address("10.0.2.2"), ip_address("fec0::2")
VM = ip_address("10.0.2.15")
DB = ip_address("192.0.2.7")


def names(*domains: str, guests: dict[str, list[Address]] | None = None) -> LocalNames:
    return LocalNames(
        host=[HOST4, HOST6],
        networks=[ip_network("10.0.2.0/24"), ip_network("fec0::/64")],
        guests=lambda: {"vm": [VM]} if guests is None else guests,
        domains=domains,
        records=[("db.example.org", DB), ("db.example.org", HOST6), ("Printer", DB)],
    )


@pytest.mark.parametrize(
    "name", ["host", "gateway", "HOST.", "host.wirebay.internal", "host.lan", "Host.Lab.Test"]
)
def test_the_host_has_both_addresses_with_and_without_a_domain(name: str) -> None:
    assert names("lan", "lab.test").addresses(name) == (HOST4, HOST6)


def test_guests_have_the_names_they_gave() -> None:
    assert names("lan").addresses("vm") == names("lan").addresses("vm.lan") == (VM,)


@pytest.mark.parametrize(
    "name", ["vm.other", "other", "x.vm", "host.host", "", ".", "lan", "wirebay.internal"]
)
def test_other_names_are_not_known(name: str) -> None:
    assert names("lan").addresses(name) is None


def test_configured_names_are_known_with_all_their_addresses() -> None:
    assert names().addresses("db.example.org") == (DB, HOST6)
    assert names("lan").addresses("db.example.org.lan") == (DB, HOST6)
    assert names().addresses("printer") == (DB,)


def test_a_guest_with_a_long_name_has_its_first_label() -> None:
    known = names("lan", guests={"VM2.example.org": [VM], "-x": [VM], "": [VM]})
    assert known.addresses("vm2.lan") == known.addresses("vm2") == (VM,)
    assert known.name_of(VM) == "vm2.lan"


@pytest.mark.parametrize("stolen", ["host", "gateway", "printer", "db.example.org", "www.example.com"])
def test_a_guest_takes_over_no_name(stolen: str) -> None:
    known = names(guests={stolen: [VM]})
    assert VM not in (known.addresses(stolen) or ())


def test_only_what_nobody_else_can_know_is_ours() -> None:
    known = names("lan")
    ours = [
        "x.wirebay.internal",
        "wirebay.internal.",
        "9.2.0.10.in-addr.arpa",
        reverse_name(ip_address("fec0::9")),
    ]
    others = ["x.lan", "x", "internal", "9.9.9.9.in-addr.arpa", "2.0.10.in-addr.arpa", "xwirebay.internal"]
    assert [name for name in ours + others if known.is_ours(name)] == ours


def test_what_is_below_a_domain_is_local() -> None:
    known = names("lan", "lab.test")
    candidates = ["x.lan", "x.y.LAB.test.", "x.wirebay.internal", "lan", "x", "x.test", "xlan"]
    assert [name for name in candidates if known.is_local(name)] == candidates[:3]


def test_addresses_have_full_names() -> None:
    assert names("lan").name_of(VM) == "vm.lan"
    assert names().name_of(HOST6) == "db.example.org"
    assert names().name_of(HOST4) == "host.wirebay.internal"
    assert names().name_of(ip_address("10.0.2.99")) is None


@given(st.ip_addresses())
def test_reverse_names_are_read_again(address: Address) -> None:
    assert reverse_address(reverse_name(address)) == address


@given(
    st.text()
    | st.lists(st.sampled_from("0123f "), min_size=30, max_size=34).map(lambda s: ".".join([*s, "ip6.arpa"]))
)
def test_any_text_is_a_reverse_name_or_not(text: str) -> None:
    address = reverse_address(text)
    assert address is None or reverse_name(address) == text


@pytest.mark.parametrize(
    "name", ["01.2.0.10.in-addr.arpa", "1.2.0.x.in-addr.arpa", "2.0.10.in-addr.arpa", "ip6.arpa"]
)
def test_what_no_address_has_is_no_reverse_name(name: str) -> None:
    assert reverse_address(name) is None
