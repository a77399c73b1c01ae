"""`wirebay ns`: from arguments to a network, and every wrong use."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from wirebay.cli import main
from wirebay.cli.ns import check_alive, open_process
from wirebay.cli.ns_options import guest_config, parse, user_options
from wirebay.cli.ready import check_ready_fd, report_ready
from wirebay.errors import HostError
from wirebay.forked import Child


def test_the_default_network_is_qemus() -> None:
    options = user_options(parse(["--", "true"]))
    guest = guest_config(options, "tap0")
    assert guest.address == IPv4Interface("10.0.2.15/24")
    assert (guest.gateway, guest.dns, guest.mtu) == (IPv4Address("10.0.2.2"), IPv4Address("10.0.2.3"), 1500)
    assert (options.host_loopback, options.restrict, options.hostfwd) == (True, False, ())


def test_options_reach_the_network() -> None:
    words = "--net 192.168.7.0/25 --mtu 9000 --host-loopback off --restrict --hostname box"
    forwards = "--hostfwd tcp:127.0.0.1:8080-:80 --hostfwd udp::5353-10.0.2.20:53"
    options = user_options(parse([*words.split(), *forwards.split()]))
    assert options.ipv4
    assert options.ipv4.net == IPv4Network("192.168.7.0/25")
    assert (options.mtu, options.host_loopback, options.restrict) == (9000, False, True)
    assert options.hostname == "box"
    assert [(rule.proto, rule.host_port, rule.guest_port) for rule in options.hostfwd] == [
        ("tcp", 8080, 80),
        ("udp", 5353, 53),
    ]
    assert guest_config(options, "eth0").address == IPv4Interface("192.168.7.15/25")


def test_any_option_of_the_user_network_is_passed_through_and_options_of_its_own_win() -> None:
    words = "--user net=192.168.7.0/24,dnssearch=lab.example,restrict=on --user mtu=9000,guestfwd=::7-cmd:cat"
    options = user_options(parse([*words.split(), "--mtu", "1400", "--hostfwd", "tcp::1-:2"]))
    assert options.ipv4
    assert (str(options.ipv4.net), options.mtu, options.restrict) == ("192.168.7.0/24", 1400, True)
    assert (len(options.guestfwd), len(options.hostfwd)) == (1, 1)
    assert guest_config(options, "tap0").search == ("lab.example",)


@pytest.mark.parametrize(
    ("words", "address", "address6", "dns"),
    [
        ("", "10.0.2.15/24", "fec0::15/64", "10.0.2.3"),
        ("-4", "10.0.2.15/24", "None", "10.0.2.3"),
        ("--ipv6-only", "None", "fec0::15/64", "fec0::3"),
        ("-6 --user ipv6-net=fd00::/126", "None", "fd00::1/126", "fd00::3"),
        ("-6 --user ipv6-host=fec0::15,ipv6-dns=fec0::16", "None", "fec0::17/64", "fec0::16"),
        ("--mtu 1279", "10.0.2.15/24", "None", "10.0.2.3"),
    ],
)
def test_the_guest_gets_addresses_of_the_families_there_are(
    words: str, address: str, address6: str, dns: str
) -> None:
    guest = guest_config(user_options(parse(words.split())), "tap0")
    assert (str(guest.address), str(guest.address6), str(guest.dns)) == (address, address6, dns)
    assert (guest.gateway is None, guest.gateway6 is None) == (address == "None", address6 == "None")


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["--", "ls", "-l", "--", "x"], ["ls", "-l", "--", "x"]),
        (["--mtu", "1400", "--", "ls", "--mtu", "9"], ["ls", "--mtu", "9"]),
    ],
)
def test_the_command_is_what_follows_the_first_double_dash(argv: list[str], command: list[str]) -> None:
    assert parse(argv).command == command


def test_without_a_command_it_is_the_users_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert parse([]).command == ["/bin/zsh"]
    monkeypatch.delenv("SHELL")
    assert parse([]).command == ["/bin/sh"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ls", "wirebay ns: unrecognized argument 'ls'; COMMAND comes after --"),
        ("--what", "wirebay ns: unrecognized argument '--what'"),
        ("--mtu big", "wirebay ns: argument --mtu: invalid int value: 'big'"),
        ("--host-loopback maybe", "wirebay ns: argument --host-loopback: invalid choice: 'maybe'"),
        ("--", "wirebay ns: there is no COMMAND after --"),
        ("--pid 1 -- ls", "wirebay ns: --pid connects a process that runs already, and takes no COMMAND"),
        ("--net 10.0.2.0/33", "wirebay: --net 10.0.2.0/33: "),
        ("--net nonsense", "wirebay: --net nonsense: "),
        ("--net 10.0.2.0/30", "wirebay: --net 10.0.2.0/30: "),
        ("--hostfwd nonsense", "wirebay: Invalid host forwarding rule 'nonsense'"),
        ("--mtu 10", "wirebay: Parameter 'mtu' expects a number from 68 to 65520"),
        ("--user foo=1", "wirebay: Invalid parameter 'foo'"),
        ("--user id=x", "wirebay: --user id=x: Invalid parameter 'id'"),
        ("-4 -6", "wirebay ns: argument -6/--ipv6-only: not allowed with argument -4/--ipv4-only"),
        ("-6 --mtu 1000", "wirebay: Parameter 'mtu' expects at least 1280 with IPv6"),
        ("-6 --net 10.0.3.0/24", "wirebay: IPv4 disabled but netmask/host/dns provided"),
        ("--ready-fd 987", "wirebay: --ready-fd: descriptor 987 is not open"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    assert main(["ns", *line.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1


@pytest.mark.parametrize("pid", [4194304, -1, 0, 1 << 40])  # the first is beyond the largest pid_max
def test_a_process_that_is_not_there_is_one_sentence_and_status_1(
    capsys: pytest.CaptureFixture[str], pid: int
) -> None:
    assert main(["ns", f"--pid={pid}"]) == 1
    assert capsys.readouterr().err == f"wirebay: --pid {pid}: no such process\n"


def test_a_process_that_ended_meanwhile_is_noticed() -> None:
    child = Child.fork(lambda channel: 0)
    pidfd = open_process(child.pid)
    check_alive(child.pid, pidfd)
    child.close()
    with pytest.raises(HostError, match=f"^--pid {child.pid}: the process ended$"):
        check_alive(child.pid, pidfd)
    os.close(pidfd)


def test_ready_is_written_once_and_the_descriptor_closed() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    check_ready_fd(write)
    assert not os.get_inheritable(write)
    report_ready(write)
    assert os.read(read, 10) == b"1"
    assert os.read(read, 10) == b""
    os.close(read)


def test_nobody_waiting_for_ready_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    report_ready(write)
    report_ready(None)


def test_a_process_in_our_own_network_namespace_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """To connect it would be to lead this host's own packets into it."""
    assert main(["ns", "--pid", str(os.getpid())]) == 1
    sentence = "the process is in this network namespace itself; start it with 'unshare --net'"
    assert capsys.readouterr().err == f"wirebay: --pid {os.getpid()}: {sentence}\n"
