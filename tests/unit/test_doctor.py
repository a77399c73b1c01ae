"""The doctor: each judgement from its fact, the table, the status."""

from __future__ import annotations

import json
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

import pytest

from wirebay import tun
from wirebay.cli import checks, doctor, main, probes
from wirebay.cli.checks import Check
from wirebay.errors import HostError

ALL = ["csum", "tso4", "tso6", "uso4", "uso6"]


def test_namespaces_that_fail_are_missing_with_the_remedy_of_the_error() -> None:
    assert checks.check_namespaces(None).state == "ok"
    check = checks.check_namespaces("user namespaces are not available: allow them with 'sysctl -w x=1'")
    assert (check.state, check.essential) == ("missing", True)
    assert (check.found, check.remedy) == (
        "user namespaces are not available",
        "allow them with 'sysctl -w x=1'",
    )


@pytest.mark.parametrize(
    ("failure", "offloads", "state", "words"),
    [
        (None, ALL, "ok", "offloads csum tso4 tso6 uso4 uso6"),
        (None, ["csum", "tso4", "tso6"], "limited", "does not offload uso4 uso6"),
        (None, [], "limited", "does not offload csum tso4"),
        (None, None, "ok", "could not be tried"),
        ("/dev/net/tun is missing: load it", None, "missing", "/dev/net/tun is missing"),
    ],
)
def test_tun(failure: str | None, offloads: list[str] | None, state: str, words: str) -> None:
    check = checks.check_tun(failure, offloads)
    assert (check.state, check.essential) == (state, True)
    assert words in check.found


@pytest.mark.parametrize(
    ("group_range", "groups", "state"),
    [
        ("1\t0\n", {0}, "limited"),
        ("0\t2147483647\n", {1000}, "ok"),
        ("100\t200\n", {1000, 200}, "ok"),
        ("100\t200\n", {1000, 99, 201}, "limited"),
    ],
)
def test_ping_sockets_take_a_group_in_the_range(
    group_range: str, groups: Collection[int], state: str
) -> None:
    check = checks.check_ping(group_range, groups)
    assert check.state == state
    assert ("ping_group_range" in (check.remedy or "")) == (state != "ok")


@pytest.mark.parametrize(
    ("version", "state", "found"),
    [
        ("QEMU emulator version 11.1.3\nCopyright", "ok", "version 11.1.3"),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "ok", "version 7.2.22"),
        ("QEMU emulator version 7.1.0", "missing", "version 7.1.0 has no -netdev stream"),
        ("QEMU emulator version 6.9", "missing", "version 6.9 has no -netdev stream"),
        ("hello\n", "limited", "its version is not known: 'hello'"),
        ("", "limited", "its version is not known: ''"),
        (None, "missing", "no qemu-system-* program in PATH"),
    ],
)
def test_qemu_is_judged_by_its_version_and_is_never_essential(
    version: str | None, state: str, found: str
) -> None:
    check = checks.check_qemu(version)
    assert (check.state, check.found, check.essential) == (state, found, False)


def test_resolvers_are_listed() -> None:
    assert checks.check_resolvers([ip_address("192.0.2.1"), ip_address("::1")]).found == "192.0.2.1, ::1"
    assert checks.check_resolvers([]).state == "limited"


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_family_that_leads_nowhere_is_told_with_the_option_to_go_without(family: str) -> None:
    assert checks.check_way(family, there=True).state == "ok"
    check = checks.check_way(family, there=False)
    assert (check.name, check.state) == (family, "limited")
    assert f"{family.lower()}=off" in (check.remedy or "")


def test_smbd_is_told_by_its_path_and_is_never_essential() -> None:
    assert checks.check_smbd("/usr/sbin/smbd") == Check("smbd", "ok", "/usr/sbin/smbd")
    check = checks.check_smbd(None)
    assert (check.state, check.essential) == ("missing", False)
    assert "samba" in (check.remedy or "")


@pytest.mark.parametrize(
    ("limit", "state", "words"),
    [
        (None, "ok", "no limit"),
        (1048576, "ok", "for 1048512 flows"),
        (65600, "ok", "for 65536 flows"),
        (65599, "limited", "for 65535 flows"),
        (10, "limited", "for 0 flows"),
    ],
)
def test_descriptors_are_told_in_flows(limit: int | None, state: str, words: str) -> None:
    check = checks.check_descriptors(limit)
    assert check.state == state
    assert words in check.found


def test_peek_offset() -> None:
    assert checks.check_peek_offset(works=True).state == "ok"
    assert "6.9" in (checks.check_peek_offset(works=False).remedy or "")


@pytest.mark.parametrize(
    ("start", "may_bind_any", "state"), [(1024, False, "limited"), (1024, True, "ok"), (0, False, "ok")]
)
def test_ports(start: int, may_bind_any: bool, state: str) -> None:
    assert checks.check_ports(start, may_bind_any).state == state


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ([Check("a", "ok", "x", essential=True), Check("b", "limited", "x", essential=True)], 0),
        ([Check("a", "missing", "x")], 0),
        ([Check("a", "ok", "x"), Check("b", "missing", "x", essential=True)], 1),
    ],
)
def test_the_status_tells_whether_something_essential_is_missing(
    monkeypatch: pytest.MonkeyPatch, found: list[Check], status: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert main(["doctor"]) == status
    assert main(["doctor", "--json"]) == status


def test_the_table_has_one_line_per_check() -> None:
    found = [Check("tun", "ok", "fine"), Check("ping sockets", "limited", "gateway only", "do this")]
    assert doctor.table(found) == (
        "ok       tun           fine\n"
        "limited  ping sockets  gateway only; do this\n"
    )  # fmt: skip


def test_this_host_can_be_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in found] == [
        "user namespaces",
        "tun",
        "ping sockets",
        "QEMU",
        "IPv4",
        "IPv6",
        "resolvers",
        "descriptors",
        "TCP peek offset",
        "forwarded ports",
        "smbd",
    ]
    assert {check["state"] for check in found} <= {"ok", "limited", "missing"}


def test_without_namespaces_tun_is_tried_by_opening_it_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise HostError("user namespaces are not available: no")

    (tmp_path / "tun").touch()
    monkeypatch.setattr(probes, "unshare_all", refuse)
    monkeypatch.setattr(tun, "DEVICE", str(tmp_path / "tun"))
    assert probes.try_namespace() == ("user namespaces are not available: no", None, None)
    monkeypatch.setattr(tun, "DEVICE", str(tmp_path / "none"))
    assert f"{tmp_path}/none is missing" in str(probes.try_namespace()[1])


def test_qemu_is_asked_for_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert probes.qemu_version() is None
    program = tmp_path / "qemu-system-riscv64"
    program.write_text("#!/bin/sh\necho QEMU emulator version 9.0.1\n")
    assert probes.qemu_version() is None
    program.chmod(0o755)
    assert probes.qemu_version() == "QEMU emulator version 9.0.1\n"


def test_a_qemu_that_does_not_run_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-sparc"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert probes.qemu_version() == ""
