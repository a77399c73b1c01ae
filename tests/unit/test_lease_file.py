"""The file of leases: what is written is read again, and a bad file costs one sentence."""

from __future__ import annotations

import logging
import math
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.dhcp_leases import Binding
from wirebay.services.lease_file import AnyBinding, LeaseFile, dump, load

ALICE = bytes.fromhex("525400000001")
FOUR = Binding(client=ALICE, address=IPv4Address("10.0.2.15"), until=100.0, name="box")
SIX = Binding(client=ALICE, address=IPv6Address("fec0::15"), until=math.inf, name=None)

bindings = st.lists(
    st.builds(
        Binding,
        client=st.binary(min_size=5, max_size=5).map(lambda tail: b"\x52" + tail),
        address=st.ip_addresses(),
        until=st.integers(-(10**9), 10**9).map(float) | st.just(math.inf),
        name=st.none() | st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
    ),
    max_size=5,
)


def one_lease(members: str) -> str:
    return f'{{"version": 1, "leases": [{{"mac": {members}}}]}}'


@given(bindings, st.integers(0, 2 * 10**9).map(float))
def test_what_is_written_is_read_again(leases: list[AnyBinding], offset: float) -> None:
    ipv4, ipv6 = load(dump(leases, offset), offset)
    assert {*ipv4, *ipv6} == set(leases)
    assert (len(ipv4), len(ipv6)) == (
        sum(lease.address.version == 4 for lease in leases),
        sum(lease.address.version == 6 for lease in leases),
    )


def test_the_time_is_that_of_the_calendar() -> None:
    ipv4, _ = load(dump([FOUR], 1000.0), 900.0)
    assert [lease.until for lease in ipv4] == [200.0]


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "{}", '{"version": 2, "leases": []}', '{"version": 1, "leases": {}}',
        '{"version": 1, "leases": [1]}', '{"version": 1, "leases": [{}]}',
        one_lease('"x", "address": "10.0.2.15", "until": 1, "name": null'),
        one_lease('"52:54:00:00:00:01", "address": "x", "until": 1, "name": null'),
        one_lease('"52:54:00:00:00:01", "address": "10.0.2.15", "until": "", "name": null'),
        one_lease('"52:54:00:00:00:01", "address": "10.0.2.15", "until": 1, "name": "a b"'),
        "[" * 100000, '{"version": 1, "leases": [' + "9" * 5000 + "]}",
    ],
)  # fmt: skip
def test_a_bad_file_is_one_warning_and_no_lease(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "leases"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert LeaseFile(str(path)).read(0.0) == ([], [])
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the leases in '{path}' are forgotten: ")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\0" * 10])
def test_a_file_that_is_no_text_is_a_bad_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    (tmp_path / "leases").write_bytes(data)
    assert LeaseFile(str(tmp_path / "leases")).read(0.0) == ([], [])
    assert len(caplog.records) == 1


def test_no_file_is_no_lease_and_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert LeaseFile(str(tmp_path / "leases")).read(0.0) == ([], [])
    assert caplog.records == []


def test_the_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    file = LeaseFile(str(path))
    file.write([FOUR, SIX], 0.0)
    old = path.stat().st_ino
    file.write([SIX], 0.0)
    assert path.stat().st_ino != old
    assert file.read(0.0) == ([], [SIX])
    assert [entry.name for entry in tmp_path.iterdir()] == ["leases"]


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = LeaseFile(str(tmp_path / "no" / "leases"))
    file.write([FOUR], 0.0)
    file.write([FOUR], 0.0)
    (record,) = caplog.records
    assert "No such file or directory" in record.getMessage()


def test_a_file_that_cannot_take_the_place_of_another_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    LeaseFile(str(tmp_path / "leases")).write([FOUR], 0.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["leases"]
