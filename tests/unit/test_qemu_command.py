"""QEMU's command line, rewritten: only the words of user networks change."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.errors import OptionError
from wirebay.options.netdev import UserOptions, parse_netdev
from wirebay.options.qemu_command import Rewritten, Served, rewrite
from wirebay.options.qemu_words import FLAGS, split_options

QEMU = "qemu-system-x86_64"


def stream(ident: str, number: int = 0) -> str:
    return f"-netdev stream,id={ident},server=off,addr.type=unix,addr.path=/run/wb/net{number}.sock"


def user(text: str) -> UserOptions:
    options = parse_netdev(text)
    assert isinstance(options, UserOptions)
    return options


def rewritten(line: str) -> Rewritten:
    return rewrite([QEMU, *shlex.split(line)], "/run/wb")


def refusal(line: str) -> str:
    with pytest.raises(OptionError) as caught:
        rewritten(line)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        # -netdev, in every spelling
        ("-netdev user,id=u0 -device e1000,netdev=u0", f"{stream('u0')} -device e1000,netdev=u0"),
        ("--netdev type=user,id=u0", stream("u0")),
        ("-netdev id=u0,type=user", stream("u0")),
        ("""-netdev '{"type": "user", "id": "u0", "restrict": true}'""", stream("u0")),
        ("""-netdev "{'id': 'u0', 'type': 'user'}" """, stream("u0")),
        ("-netdev user,id=a -netdev user,id=b", f"{stream('a')} {stream('b', 1)}"),
        # -nic
        ("-nic user", f"{stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-nic ''", f"{stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("--nic model=rtl8139", f"{stream('wirebay0')} -net nic,netdev=wirebay0,model=rtl8139"),
        (
            "-nic user,id=x,mac=52:54:00:00:00:01,model=virtio,hostfwd=::1-:2",
            f"{stream('x')} -net nic,netdev=x,macaddr=52:54:00:00:00:01,model=virtio",
        ),
        ("-nic user,model=a,,b,model=c,,d", f"{stream('wirebay0')} -net nic,netdev=wirebay0,model=c,,d"),
        (
            "-nic user -nic user,model=e1000",
            (
                f"{stream('wirebay0')} -net nic,netdev=wirebay0 "
                f"{stream('wirebay1', 1)} -net nic,netdev=wirebay1,model=e1000"
            ),
        ),
        ("-nic none -nic user", f"-nic none {stream('wirebay0')} -net nic,netdev=wirebay0"),
        # -nic where the order of the cards matters
        (
            "-nic tap,ifname=t0 -nic user,model=e1000,mac=52:54:00:00:00:01",
            (
                f"-nic tap,ifname=t0 {stream('wirebay0')} "
                "-netdev hubport,id=wirebay1,hubid=1,netdev=wirebay0 "
                "-nic hubport,hubid=1,model=e1000,mac=52:54:00:00:00:01"
            ),
        ),
        (
            "-nic user -nic user -nic hubport,hubid=1 -netdev '{\"hubid\": 2}'",
            (
                f"{stream('wirebay0')} -netdev hubport,id=wirebay1,hubid=3,netdev=wirebay0 "
                "-nic hubport,hubid=3 "
                f"{stream('wirebay2', 1)} -netdev hubport,id=wirebay3,hubid=4,netdev=wirebay2 "
                "-nic hubport,hubid=4 "
                "-nic hubport,hubid=1 -netdev '{\"hubid\": 2}'"
            ),
        ),
        (
            "-net nic -nic user",
            (
                f"-net nic {stream('wirebay0')} -netdev hubport,id=wirebay1,hubid=1,netdev=wirebay0 "
                "-nic hubport,hubid=1"
            ),
        ),
        ("-nic user -net nic", f"{stream('wirebay0')} -net nic,netdev=wirebay0 -net nic"),
        # -net
        (
            "-net nic,model=e1000 -net user,restrict=on",
            f"-net nic,model=e1000 {stream('wirebay0')} -netdev hubport,id=wirebay1,hubid=0,netdev=wirebay0",
        ),
        (
            "-net user,id=n -net user",
            (
                f"{stream('n')} -netdev hubport,id=wirebay0,hubid=0,netdev=n "
                f"{stream('wirebay1', 1)} -netdev hubport,id=wirebay2,hubid=0,netdev=wirebay1"
            ),
        ),
        # the default network
        ("", f"{stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-m 1G disk.img", f"-m 1G disk.img {stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-M q35,accel=tcg", f"-M q35,accel=tcg {stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-machine none -M pc", f"-machine none -M pc {stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-device e1000", f"-device e1000 {stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-S -append", f"-S {stream('wirebay0')} -net nic,netdev=wirebay0 -append"),
        # arguments that look like options
        ("-append '-nic user' -nic none", "-append '-nic user' -nic none"),
        ("-name -nic user", f"-name -nic user {stream('wirebay0')} -net nic,netdev=wirebay0"),
        ("-snapshot -nic user", f"-snapshot {stream('wirebay0')} -net nic,netdev=wirebay0"),
        # ids in use
        (
            "-name wirebay0 -chardev null,id=wirebay1",
            f"-name wirebay0 -chardev null,id=wirebay1 {stream('wirebay2')} -net nic,netdev=wirebay2",
        ),
    ],
)
def test_a_command_line_becomes_another(line: str, result: str) -> None:
    assert rewritten(line).argv == [QEMU, *shlex.split(result)]


@pytest.mark.parametrize(
    "line",
    [
        "-nic none",
        "-net none",
        "-nodefaults",
        "--nodefaults -m 1",
        "-M none",
        "-machine accel=tcg,type=none",
        "-M microvm,rtc=on",
        "-netdev tap,id=t -device e1000,netdev=t",
        "-netdev stream,id=s,addr.type=unix,addr.path=/x",
        "-netdev socket,id=s,listen=:1,user",
        "-nic hubport,hubid=1",
        "-nic help",
        "-nic model=help",
        "-nic user,model=?",
        '-nic \'{"type":"user"}\'',
        "-netdev help",
        "-netdev '{broken'",
        '-netdev \'{"type":["user"]}\'',
        "-net nic",
        "-net tap -net nic",
        "-netdev",
        "--version",
        "-help -nic user",
        "-daemonize -nic none",
    ],
)
def test_what_is_not_ours_stays_as_it_is(line: str) -> None:
    argv = [QEMU, *shlex.split(line)]
    if line == "-netdev":  # asks for no network, since it is cut off
        assert rewrite(argv, "/run/wb").argv[-1] == "-netdev"
        return
    assert rewrite(argv, "/run/wb") == Rewritten(argv, [])


def test_the_networks_come_with_their_options_and_sockets() -> None:
    result = rewritten(
        "-netdev user,id=u0,mtu=9000 -nic user,hostfwd=tcp::2222-:22,model=virtio -net user,ip=10.1.1.0"
    )
    assert result.networks == [
        Served(user("user,id=u0,mtu=9000"), "/run/wb/net0.sock"),
        Served(user("user,id=wirebay0,hostfwd=tcp::2222-:22"), "/run/wb/net1.sock"),
        Served(user("user,id=wirebay1,net=10.1.1.0/24"), "/run/wb/net2.sock"),
    ]
    assert all(isinstance(options, UserOptions) for options in [served.user for served in result.networks])


@pytest.mark.parametrize(
    "spelling", ["-netdev user,id=wirebay0,{}", "-nic user,{}", "-nic {}", "-net user,{}"]
)
def test_every_option_is_carried_through(spelling: str) -> None:
    options = (
        "ipv4=on,ipv6=on,net=10.1.0.0/16,host=10.1.0.1,dns=10.1.0.2,dhcpstart=10.1.0.9,ipv6-net=fd00::/64,"
        "ipv6-host=fd00::9,ipv6-dns=fd00::8,restrict=off,hostname=vm,domainname=d.example,dnssearch=a.example,"
        "dnssearch=b.example,tftp=/srv,tftp-server-name=boot,bootfile=pxe.0,smb=/home,smbserver=10.1.0.4,"
        "hostfwd=tcp:[::1]:80-:80,hostfwd=unix:/run/x-:22,guestfwd=tcp:10.1.0.7:80-cmd:a,,b,mtu=9000,"
        "host-loopback=off,leases=/l,dhcp-host=52:54:00:12:34:56/10.1.0.50/web,host-record=x=10.1.0.6"
    )
    result = rewrite([QEMU, *spelling.format(options).split(" ", 1)], "/run/wb")
    assert result.networks == [Served(user(f"user,id=wirebay0,{options}"), "/run/wb/net0.sock")]


def test_a_comma_in_the_path_of_a_socket_is_escaped() -> None:
    result = rewrite([QEMU, "-nic", "user"], "/tmp/a,b")
    assert result.argv[2].endswith("addr.path=/tmp/a,,b/net0.sock")
    assert result.networks[0].path == "/tmp/a,b/net0.sock"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-netdev user,id=u,foo=1", "-netdev user,id=u,foo=1: Invalid parameter 'foo'"),
        ("-netdev user", "-netdev user: Parameter 'id' is missing"),
        (
            """-netdev '{"type":"user","id":"u","x":1}'""",
            '-netdev {"type":"user","id":"u","x":1}: Parameter \'x\' is unexpected',
        ),
        ("-nic user,addr=3", "-nic user,addr=3: Invalid parameter 'addr'"),
        ("-nic macaddr=x", "-nic macaddr=x: Invalid parameter 'macaddr'"),
        ("-nic user,mac=1:2:3", "-nic user,mac=1:2:3: invalid syntax for ethernet address"),
        ("-nic user,mac=x", "-nic user,mac=x: invalid syntax for ethernet address"),
        (
            "-nic user,mac=01:02:03:04:05:06",
            "-nic user,mac=01:02:03:04:05:06: NIC cannot have multicast MAC address",
        ),
        ("-net user,model=x", "-net user,model=x: Invalid parameter 'model'"),
        (
            "-nic user,smb=/x,smbserver=10.0.2.2",
            "-nic user,smb=/x,smbserver=10.0.2.2: Conflicting/invalid smbserver address",
        ),
        ("-netdev user,id=a -netdev user,id=a", "-netdev user,id=a: Duplicate ID 'a' for netdev"),
        (
            "-netdev user,id=a -netdev hubport,hubid=1,id=a",
            "-netdev hubport,hubid=1,id=a: Duplicate ID 'a' for netdev",
        ),
        ("-nic user,id=a -nic none,id=a", "-nic none,id=a: Duplicate ID 'a' for nic"),
        ("-net user,id=a -net nic,id=a", "-net nic,id=a: Duplicate ID 'a' for net"),
        ("-nic user,id=a -netdev user,id=a", "-netdev user,id=a: Duplicate ID 'a'"),
        ("-net user,id=a -netdev tap,id=a", "-netdev tap,id=a: Duplicate ID 'a'"),
        (
            "-netdev user,id=a -netdev stream,id=a,addr.type=fd,addr.str=1",
            "-netdev stream,id=a,addr.type=fd,addr.str=1: Duplicate ID 'a'",
        ),
        (
            "-nic user -daemonize",
            "-daemonize: QEMU would outlive the network served to it; put wirebay in the background instead",
        ),
    ],
)
def test_a_wrong_network_option_is_refused_and_named(line: str, sentence: str) -> None:
    assert refusal(line) == sentence


@pytest.mark.parametrize("mac", ["52:54:00:12:34:56", "52-54-0-12-34-56", "0x10", "5", ""])
def test_a_mac_address_is_passed_on_as_it_was_written(mac: str) -> None:
    assert rewritten(f"-nic user,mac={mac}").argv[-1] == f"nic,netdev=wirebay0,macaddr={mac}"


@pytest.mark.parametrize("line", ["-netdev tap,id=a -netdev tap,id=a", "-netdev user,id=a -nic none,id=a"])
def test_duplicates_that_are_not_ours_are_left_to_qemu(line: str) -> None:
    assert rewritten(line).argv[-2:] == line.split()[-2:]


words = st.text(max_size=6) | st.sampled_from(
    [
        "-nic",
        "--net",
        "-netdev",
        "-append",
        "-snapshot",
        "user",
        "-",
        "--",
        "-M",
        "none",
        "-S",
        "disk.img",
        "-name",
    ]
)


@given(st.lists(words, max_size=12))
def test_options_taken_apart_give_the_command_line_back(arguments: list[str]) -> None:
    options = split_options(arguments)
    assert [word for option in options for word in option.words] == arguments
    assert not any(option.is_cut_off for option in options[:-1])


other_options = st.one_of(
    st.sampled_from(sorted(FLAGS - {"h", "help", "version", "daemonize"})).map(lambda name: (f"-{name}",)),
    st.tuples(st.sampled_from(["-append", "--name", "-drive", "-device", "-kernel", "-m"]), st.text()),
    st.tuples(st.text().filter(lambda word: not word.startswith("-"))),
    st.sampled_from([("-nic", "none"), ("-net", "nic"), ("-netdev", "tap,id=t"), ("-nic", "tap,ifname=x")]),
)
OURS = ["-nic user", "-nic model=e1000", "-net user", "-netdev user,id=u0", "--nic user,hostfwd=::0-:1"]


@given(st.lists(other_options), st.integers(min_value=0), st.sampled_from(OURS))
def test_everything_around_a_user_network_stays_byte_for_byte_in_order(
    others: list[tuple[str, ...]], place: int, ours: str
) -> None:
    place %= len(others) + 1
    before = [word for option in others[:place] for word in option]
    after = [word for option in others[place:] for word in option]
    result = rewrite([QEMU, *before, *ours.split(), *after], "/run/wb")
    assert result.argv[: 1 + len(before)] == [QEMU, *before]
    assert result.argv[len(result.argv) - len(after) :] == after
    added = result.argv[1 + len(before) : len(result.argv) - len(after)]
    assert added[0] == "-netdev"
    assert added[1].startswith("stream,")
    assert "user" not in "".join(added)
