"""-netdev: socket, dgram, l2tpv3, vxlan, vde, vfkit, bess, stdio, and what is refused by name."""

from __future__ import annotations

import pytest

from wirebay.errors import OptionError
from wirebay.options.link_types import (
    BessOptions,
    DgramOptions,
    FdAddr,
    InetAddr,
    L2tpv3Options,
    SocketOptions,
    StdioOptions,
    UnixAddr,
    VdeOptions,
    VfkitOptions,
    VxlanOptions,
)
from wirebay.options.netdev import netdev_from_dict, parse_netdev
from wirebay.options.refused import INSTEAD
from wirebay.options.types import Netdev


def v4(host: str, port: str) -> InetAddr:
    return InetAddr(host=host, port=port, ipv4=True)


INET = "local.type=inet,local.host=127.0.0.1,local.port=5"
UNIX = "local.type=unix,local.path=/a"
GROUP = "remote.type=inet,remote.host=230.0.0.1,remote.port=77"
COOKIES = "rxcookie=5,txcookie=0xffffffffffffffff,cookie64=on,counter=on,pincounter=on,offset=256"
TUNNEL = L2tpv3Options(id="n", src="a", dst="b", txsession=1, rxsession=1)
SEGMENT = VxlanOptions(
    id="n",
    vni=7,
    remote=(InetAddr(host="10.0.0.1", port="4789"),),
    local=InetAddr(host="", port="4789"),
)

READ: list[tuple[str, Netdev]] = [
    ("socket,id=n,listen=:5", SocketOptions(id="n", listen=v4("", "5"))),
    ("socket,id=n,connect=example:0x10", SocketOptions(id="n", connect=v4("example", "16"))),
    ("socket,id=n,mcast=230.0.0.1:5", SocketOptions(id="n", mcast=v4("230.0.0.1", "5"))),
    (
        "socket,id=n,mcast=230.0.0.1:5,localaddr=127.0.0.1",
        SocketOptions(id="n", mcast=v4("230.0.0.1", "5"), localaddr=v4("127.0.0.1", "")),
    ),
    (
        "socket,id=n,udp=10.0.0.1:5,localaddr=:6",
        SocketOptions(id="n", udp=v4("10.0.0.1", "5"), localaddr=v4("", "6")),
    ),
    ("socket,id=n,fd=07", SocketOptions(id="n", fd=FdAddr(fd="7"))),
    (
        f"dgram,id=n,{UNIX},remote.type=unix,remote.path=/b",
        DgramOptions(id="n", local=UnixAddr(path="/a"), remote=UnixAddr(path="/b")),
    ),
    (
        f"dgram,id=n,{INET},remote.type=inet,remote.host=::1,remote.port=6",
        DgramOptions(
            id="n", local=InetAddr(host="127.0.0.1", port="5"), remote=InetAddr(host="::1", port="6")
        ),
    ),
    ("dgram,id=n,local.type=fd,local.str=3", DgramOptions(id="n", local=FdAddr(fd="3"))),
    (f"dgram,id=n,{GROUP}", DgramOptions(id="n", remote=InetAddr(host="230.0.0.1", port="77"))),
    (
        "dgram,id=n,remote.type=inet,remote.host=ff02::99%eth0,remote.port=77",
        DgramOptions(id="n", remote=InetAddr(host="ff02::99%eth0", port="77")),
    ),
    ("l2tpv3,id=n,src=a,dst=b,txsession=1", TUNNEL),
    (
        f"l2tpv3,id=n,src=a,dst=b,txsession=0x11,rxsession=2,udp=on,srcport=3,dstport=4,ipv6=on,{COOKIES}",
        L2tpv3Options(
            id="n",
            src="a",
            dst="b",
            txsession=17,
            rxsession=2,
            udp=True,
            srcport="3",
            dstport="4",
            ipv6=True,
            rxcookie=5,
            txcookie=(1 << 64) - 1,
            cookie64=True,
            counter=True,
            pincounter=True,
            offset=256,
        ),
    ),
    ("l2tpv3,id=n,src=a,dst=b,txsession=1,cookie64=off", TUNNEL),
    ("vxlan,id=n,vni=7,remote=10.0.0.1", SEGMENT),
    (
        "vxlan,id=n,vni=7,remote=[fd00::1]:99,remote=fd00::2,local=fd00::3,port=5",
        VxlanOptions(
            id="n",
            vni=7,
            remote=(InetAddr(host="fd00::1", port="99"), InetAddr(host="fd00::2", port="5")),
            local=InetAddr(host="fd00::3", port="5"),
        ),
    ),
    ("vde,id=n", VdeOptions(id="n")),
    (
        "vde,id=n,sock=/s,port=3,group=users,mode=0660,reconnect-ms=5",
        VdeOptions(id="n", sock="/s", port=3, group="users", mode=0o660, reconnect_ms=5),
    ),
    ("vde,id=n,sock=/s,server=on,max-peers=2", VdeOptions(id="n", sock="/s", server=True, max_peers=2)),
    ("vfkit,id=n,path=/p", VfkitOptions(id="n", path="/p")),
    ("bess,id=n,path=/p,server=on", BessOptions(id="n", path="/p", server=True)),
    ("bess,id=n,path=/p,reconnect-ms=5", BessOptions(id="n", path="/p", reconnect_ms=5)),
    ("stdio,id=n", StdioOptions(id="n")),
    ("stdio,id=n,framing=vpnkit", StdioOptions(id="n", framing="vpnkit")),
]


@pytest.mark.parametrize(("text", "options"), READ, ids=[text for text, _ in READ])
def test_options_are_read(text: str, options: Netdev) -> None:
    assert parse_netdev(text) == options


def test_python_programs_say_it_with_their_own_types() -> None:
    segment = {"type": "vxlan", "id": "n", "vni": 7, "remote": ["10.0.0.1"]}
    assert netdev_from_dict(segment) == SEGMENT
    tunnel = {"type": "l2tpv3", "id": "n", "src": "a", "dst": "b", "txsession": 1, "counter": False}
    assert netdev_from_dict(tunnel) == TUNNEL


ONE_OF = "exactly one of listen=, connect=, mcast= or udp= is required"

REFUSED = [
    ("socket,id=n", ONE_OF),
    ("socket,id=n,listen=:1,connect=x:2", ONE_OF),
    ("socket,id=n,fd=3,udp=1.2.3.4:5", ONE_OF),
    ("socket,id=n,listen=1234", "host address '1234' doesn't contain ':' separating host from port"),
    ("socket,id=n,listen=:x", "port number 'x' is invalid"),
    ("socket,id=n,listen=:70000", "port number '70000' is invalid"),
    ("socket,id=n,listen=999.1.1.1:1", "host address '999.1.1.1' is not a valid IPv4 address"),
    (
        "socket,id=n,mcast=10.0.0.1:5",
        "specified mcastaddr 10.0.0.1 (0x0a000001) does not contain a multicast address",
    ),
    ("socket,id=n,mcast=x:5", "can't resolve host address 'x'"),
    ("socket,id=n,mcast=230.0.0.1:5,localaddr=foo", "localaddr 'foo' is not a valid IPv4 address"),
    ("socket,id=n,udp=127.0.0.1:5", "localaddr= is mandatory with udp="),
    ("socket,id=n,udp=127.0.0.1:5,localaddr=:x", "port number 'x' is invalid"),
    ("socket,id=n,listen=:1,localaddr=1.2.3.4", "localaddr= is only valid with mcast= or udp="),
    ("socket,id=n,fd=foo", "Invalid file descriptor number 'foo'"),
    ("dgram,id=n", "dgram requires local= parameter"),
    (f"dgram,id=n,{INET}", "type=inet or type=unix requires remote parameter"),
    (f"dgram,id=n,{UNIX}", "type=inet or type=unix requires remote parameter"),
    (f"dgram,id=n,{INET},remote.type=unix,remote.path=/x", "remote and local types must be the same"),
    (
        "dgram,id=n,local.type=fd,local.str=3,remote.type=unix,remote.path=/x",
        "don't set remote with local.fd",
    ),
    ("dgram,id=n,remote.type=fd,remote.str=1", "dgram requires local= parameter"),
    (f"dgram,id=n,{UNIX},remote.type=fd,remote.str=1", "remote and local types must be the same"),
    (f"dgram,id=n,{GROUP},{UNIX}", "only support inet or fd type for local"),
    (
        f"dgram,id=n,{GROUP},local.type=inet,local.host=foo,local.port=1",
        "localaddr 'foo' is not a valid IPv4 address",
    ),
    ("dgram,id=n,local.type=bogus", "Parameter 'type' does not accept value 'bogus'"),
    ("dgram,id=n,local.path=/x", "Parameter 'local.type' is missing"),
    (
        "dgram,id=n,local.type=vsock,local.cid=1",
        "option 'local.type=vsock' of the dgram network is not served by this version of wirebay",
    ),
    ("l2tpv3,id=n,dst=b,txsession=1", "Parameter 'src' is missing"),
    ("l2tpv3,id=n,src=a,txsession=1", "Parameter 'dst' is missing"),
    ("l2tpv3,id=n,src=a,dst=b", "Parameter 'txsession' is missing"),
    ("l2tpv3,id=n,src=a,dst=b,txsession=x", "Parameter 'txsession' expects a uint64 value"),
    ("l2tpv3,id=n,src=a,dst=b,txsession=99999999999", "Parameter 'txsession' expects uint32_t"),
    ("l2tpv3,id=n,src=a,dst=b,txsession=1,udp=on", "need both src and dst port for udp"),
    ("l2tpv3,id=n,src=a,dst=b,txsession=1,udp=on,srcport=1", "need both src and dst port for udp"),
    (
        "l2tpv3,id=n,src=a,dst=b,txsession=1,rxcookie=1",
        "require both 'rxcookie' and 'txcookie' or neither",
    ),
    ("l2tpv3,id=n,src=a,dst=b,txsession=1,offset=257", "offset must be less than 256 bytes"),
    (
        "l2tpv3,id=n,src=a,dst=b,txsession=1,rxcookie=0x100000000,txcookie=1",
        "rxcookie=0x100000000 has more than 32 bits: it needs cookie64=on",
    ),
    ("vxlan,id=n,remote=a", "Parameter 'vni' is missing"),
    ("vxlan,id=n,vni=1", "Parameter 'remote' is missing"),
    ("vxlan,id=n,vni=16777216,remote=a", "Parameter 'vni' expects a number of 24 bits, 16777216 is more"),
    *(
        (f"vxlan,id=n,vni=1,remote={text}", f"'{text}' is not HOST, HOST:PORT or [IPV6]:PORT")
        for text in ("", ":5", "a:", "a:x", "a:70000", "a:b:5", "[::1", "[]:5")
    ),
    ("vde,id=n,port=70000", "Parameter 'port' expects uint16_t"),
    ("vde,id=n,mode=0999", "Parameter 'mode' expects a uint64 value"),
    ("vde,id=n,server=on", "Parameter 'sock' is missing"),
    ("vde,id=n,sock=/s,server=on,port=1", "'port' option is incompatible with server=on"),
    ("vde,id=n,sock=/s,max-peers=2", "'max-peers' option is only valid with server=on"),
    ("vfkit,id=n", "Parameter 'path' is missing"),
    ("bess,id=n", "Parameter 'path' is missing"),
    (
        "bess,id=n,path=/p,server=on,reconnect-ms=1",
        "'reconnect-ms' option is incompatible with socket in server mode",
    ),
    ("stdio,id=n,framing=x", "Parameter 'framing' does not accept value 'x'"),
    ("vfkit,id=n,path=/p,foo=1", "Invalid parameter 'foo'"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED, ids=[text for text, _ in REFUSED])
def test_a_wrong_option_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_netdev(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("kind", INSTEAD)
def test_what_wirebay_is_not_is_said_in_qemus_words_with_the_way_out(kind: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_netdev(f"{kind},id=n")
    assert str(caught.value).startswith(f"network backend '{kind}' is not compiled into this binary: ")
    assert "use" in str(caught.value)
