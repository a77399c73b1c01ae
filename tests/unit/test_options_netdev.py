"""-netdev: ids, types, and the options of stream, tap and hubport."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirebay.errors import OptionError
from wirebay.options.netdev import (
    BridgeOptions,
    FdAddr,
    HubportOptions,
    InetAddr,
    StreamOptions,
    TapOptions,
    UnixAddr,
    netdev_from_dict,
    parse_netdev,
)

UNIX = "stream,id=s0,addr.type=unix,addr.path=/run/x"
INET = "stream,id=s0,addr.type=inet,addr.host=localhost,addr.port=5555"


def refusal(text: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse_netdev(text)
    return str(caught.value)


IDENTIFIER = "Parameter 'id' expects an identifier (a letter, then letters, digits, '-', '.', '_')"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Parameter 'id' is missing"),
        ("user", "Parameter 'id' is missing"),
        ("{}", "Parameter 'id' is missing"),
        ("id=n", "Parameter 'type' is missing"),
        ('{"id":"n"}', "Parameter 'type' is missing"),
        ("user,id=", IDENTIFIER),
        ("user,id=1n", IDENTIFIER),
        ("user,id=a b", IDENTIFIER),
        ("user,id=a,,b", IDENTIFIER),
        ('{"type":"user","id":5}', IDENTIFIER),
        (f"user,id={'n' * 256}", "Parameter 'id' cannot exceed 255 characters"),
        ("bogus,id=n", "Parameter 'type' does not accept value 'bogus'"),
        ("none,id=n", "Parameter 'type' does not accept value 'none'"),
        ("user,,id=n", "Parameter 'id' is missing"),
        ('{"type":[],"id":"n"}', "Invalid parameter type for 'type', expected: string"),
        ("none=,id=n", "Parameter 'type' is missing"),
    ],
)
def test_a_wrong_id_or_type_is_refused(text: str, sentence: str) -> None:
    assert refusal(text) == sentence


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (UNIX, StreamOptions(id="s0", server=False, addr=UnixAddr(path="/run/x"))),
        (
            f"{UNIX},,y,server=on,addr.abstract=on,addr.tight=off",
            StreamOptions(id="s0", server=True, addr=UnixAddr(path="/run/x,y", abstract=True, tight=False)),
        ),
        (
            f"{INET},reconnect-ms=250",
            StreamOptions(
                id="s0", server=False, addr=InetAddr(host="localhost", port="5555"), reconnect_ms=250
            ),
        ),
        (
            f"{INET},addr.to=5600,addr.ipv4=on,addr.ipv6=off,addr.numeric=yes,addr.keep-alive=y,server=true",
            StreamOptions(
                id="s0",
                server=True,
                addr=InetAddr(
                    host="localhost",
                    port="5555",
                    ipv4=True,
                    ipv6=False,
                    keep_alive=True,
                    numeric=True,
                    to=5600,
                ),
            ),
        ),
        (
            f"{UNIX},server=on,max-peers=8",
            StreamOptions(id="s0", server=True, addr=UnixAddr(path="/run/x"), max_peers=8),
        ),
        (
            "id=s0,type=stream,addr.type=fd,addr.str=7",
            StreamOptions(id="s0", server=False, addr=FdAddr(fd="7")),
        ),
    ],
)
def test_stream_is_read_in_the_keyval_spelling(text: str, options: StreamOptions) -> None:
    assert parse_netdev(text) == options


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stream,id=s0", "Parameter 'addr' is missing"),
        ("stream,id=s0,addr=x", "Invalid parameter type for 'addr', expected: object"),
        ("stream,id=s0,addr.host=x", "Parameter 'addr.type' is missing"),
        ("stream,id=s0,addr.type=bogus", "Parameter 'type' does not accept value 'bogus'"),
        ("stream,id=s0,addr.type=unix", "Parameter 'addr.path' is missing"),
        ("stream,id=s0,addr.type=inet,addr.host=h", "Parameter 'addr.port' is missing"),
        (f"{UNIX},server=1", "Parameter 'server' expects 'on' or 'off'"),
        (f"{INET},addr.ipv4=x", "Parameter 'addr.ipv4' expects 'on' or 'off'"),
        (f"{INET},addr.to=x", "Parameter 'addr.to' expects integer"),
        (f"{INET},addr.to=70000", "Parameter 'to' expects uint16_t"),
        (f"{INET},to=70", "Parameter 'to' is unexpected"),
        (f"{UNIX},addr.foo=1", "Parameter 'addr.foo' is unexpected"),
        (f"{UNIX},reconnect=1", "Parameter 'reconnect' is unexpected"),
        (f"{UNIX},reconnect-ms=x", "Parameter 'reconnect-ms' expects integer"),
        (f"{UNIX},reconnect-ms=-1", "Parameter 'reconnect-ms' expects uint32_t"),
        (
            f"{UNIX},server=on,reconnect-ms=5",
            "'reconnect-ms' option is incompatible with socket in server mode",
        ),
        (f"{UNIX},max-peers=2", "'max-peers' option is only valid with server=on"),
        (
            f"{UNIX},server=on,max-peers=0",
            "Parameter 'max-peers' expects a number from 1 to 1024",
        ),
        (
            f"{INET},addr.mptcp=on",
            "option 'addr.mptcp' of the stream network is not served by this version of wirebay",
        ),
        (
            "stream,id=s0,addr.type=vsock,addr.cid=1,addr.port=2",
            "option 'addr.type=vsock' of the stream network is not served by this version of wirebay",
        ),
    ],
)
def test_a_wrong_stream_option_is_refused_in_qemus_words(text: str, sentence: str) -> None:
    assert refusal(text) == sentence


def test_stream_takes_the_types_that_python_programs_hold() -> None:
    unix = {"type": "stream", "id": "s0", "server": True, "addr": {"type": "unix", "path": Path("/run/x")}}
    inet = {"type": "stream", "id": "s0", "addr": {"type": "inet", "host": "localhost", "port": 5555}}
    assert netdev_from_dict(unix) == parse_netdev(f"{UNIX},server=on")
    assert netdev_from_dict(inet) == parse_netdev(INET)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("tap,id=t0", TapOptions(id="t0")),
        (
            "tap,id=t0,ifname=tap7,script=no,downscript=,vnet_hdr=off,queues=1,vhost=off",
            TapOptions(id="t0", ifname="tap7", vnet_hdr=False, script="", downscript=""),
        ),
        ("tap,id=t0,fd=7", TapOptions(id="t0", fd=7)),
        ("tap,id=t0,netns=/proc/1/ns/net,ifname=", TapOptions(id="t0", netns="/proc/1/ns/net")),
        ('{"type":"tap","id":"t0","fd":"7"}', TapOptions(id="t0", fd=7)),
        ("tap,id=t0,fds=7", TapOptions(id="t0", fd=7)),
        ("tap,id=t0,helper=/x y,br=br7", TapOptions(id="t0", helper="/x y", br="br7")),
        (
            "tap,id=t0,script=/up,downscript=/down,poll-us=0",
            TapOptions(id="t0", script="/up", downscript="/down"),
        ),
        ("tap,id=t0,sndbuf=1M", TapOptions(id="t0", sndbuf=1 << 20)),
        ("tap,id=t0,sndbuf=5g", TapOptions(id="t0", sndbuf=(1 << 31) - 1)),
        ("bridge,id=b0", BridgeOptions(id="b0", br="br0", helper="/usr/lib/qemu/qemu-bridge-helper")),
        ("bridge,id=b0,br=br7,helper=/x", BridgeOptions(id="b0", br="br7", helper="/x")),
    ],
)
def test_tap_is_read(text: str, options: TapOptions) -> None:
    assert parse_netdev(text) == options


ONE_QUEUE = "wirebay moves frames through one queue a TAP"
VHOST = (
    "vhost-net joins a TAP to the guest of the QEMU that opens it, and these frames go through wirebay; "
    "vnet_hdr=on gives the same offloads"
)
VHOSTS = ("vhost=on", "vhostforce=on", "vhostfd=3", "vhostfds=3:4", "poll-us=50")
WITH_FD = "ifname=, script=, downscript=, vnet_hdr= are invalid with fd=/fds=/helper="


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("fd=foo", "Invalid file descriptor number 'foo'"),
        ("fd=-1", "Invalid file descriptor number '-1'"),
        ("fd=7,ifname=x", WITH_FD),
        ("fd=7,script=no", WITH_FD),
        ("fd=7,vnet_hdr=on", WITH_FD),
        ("fd=7,queues=1", "queues=, helper=, fds= and fd= are mutual exclusive"),
        ("fd=7,netns=/x", "netns= is invalid with fd="),
        ("queues=0", "queues must be greater than zero"),
        ("queues=x", "Parameter 'queues' expects a uint64 value"),
        ("vnet_hdr=1", "Parameter 'vnet_hdr' expects 'on' or 'off'"),
        ("ifname=0123456789abcdef", "Parameter 'ifname' cannot exceed 15 bytes, '0123456789abcdef' does"),
        ("foo=1", "Invalid parameter 'foo'"),
        ("queues=2", f"option 'queues=2' of the tap network: {ONE_QUEUE}"),
        ("fds=7:8", f"option 'fds=7:8' of the tap network: {ONE_QUEUE}"),
        ("fds=7:x", "Invalid file descriptor number 'x'"),
        ("fds=7,fd=8", "queues=, helper=, fds= and fd= are mutual exclusive"),
        ("helper=/x,fd=8", "queues=, helper=, fds= and fd= are mutual exclusive"),
        ("helper=/x,ifname=tap7", WITH_FD),
        ("helper=/x,netns=/y", "netns= is invalid with helper="),
        (
            "script=/x,netns=/y",
            "script= and downscript= are invalid with netns=: scripts run in this namespace",
        ),
        ("sndbuf=x", "Parameter 'sndbuf' expects a size value"),
        ("br=0123456789abcdef", "Parameter 'br' cannot exceed 15 bytes, '0123456789abcdef' does"),
        *((option, f"option '{option.partition('=')[0]}' of the tap network: {VHOST}") for option in VHOSTS),
    ],
)
def test_a_wrong_tap_option_is_refused(options: str, sentence: str) -> None:
    assert refusal(f"tap,id=t0,{options}") == sentence


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("hubport,id=h0,hubid=0", HubportOptions(id="h0", hubid=0)),
        ("hubport,id=h0,hubid=-2,netdev=u0", HubportOptions(id="h0", hubid=-2, netdev="u0")),
        ("hubport,id=h0,hubid=0x10", HubportOptions(id="h0", hubid=16)),
        ("hubport,id=h0,hubid=010", HubportOptions(id="h0", hubid=8)),
        ('{"type":"hubport","id":"h0","hubid":3}', HubportOptions(id="h0", hubid=3)),
    ],
)
def test_hubport_is_read(text: str, options: HubportOptions) -> None:
    assert parse_netdev(text) == options


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hubport,id=h0", "Parameter 'hubid' is missing"),
        ("hubport,id=h0,hubid=", "Parameter 'hubid' expects an int64 value"),
        ("hubport,id=h0,hubid=3.5", "Parameter 'hubid' expects an int64 value"),
        ("hubport,id=h0,hubid=2147483648", "Parameter 'hubid' expects int32_t"),
        ('{"type":"hubport","id":"h0","hubid":"3"}', "Invalid parameter type for 'hubid', expected: integer"),
    ],
)
def test_a_wrong_hubport_option_is_refused_in_qemus_words(text: str, sentence: str) -> None:
    assert refusal(text) == sentence
