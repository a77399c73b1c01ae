"""-netdev user: defaults, checks and sentences, as the real QEMU has them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from wirebay.errors import OptionError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.netdev import UserOptions, netdev_from_dict, parse_netdev
from wirebay.options.types import DhcpHost, Plan4, Plan6

NO_PREFIX = "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)"


def user(options: str) -> UserOptions:
    netdev = parse_netdev(f"user,id=u0,{options}")
    assert isinstance(netdev, UserOptions)
    return netdev


def refusal(options: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse_netdev(f"user,id=u0,{options}")
    return str(caught.value)


def addresses(options: UserOptions) -> tuple[str, str, str, str]:
    plan = options.ipv4
    assert plan
    return str(plan.net), str(plan.host), str(plan.dns), str(plan.dhcpstart)


def test_the_defaults_are_qemus() -> None:
    assert user("") == UserOptions(
        id="u0",
        ipv4=Plan4(
            net=IPv4Network("10.0.2.0/24"),
            host=IPv4Address("10.0.2.2"),
            dns=IPv4Address("10.0.2.3"),
            dhcpstart=IPv4Address("10.0.2.15"),
        ),
        ipv6=Plan6(net=IPv6Network("fec0::/64"), host=IPv6Address("fec0::2"), dns=IPv6Address("fec0::3")),
        restrict=False,
        hostname=None,
        domainname=None,
        dnssearch=(),
        tftp=None,
        tftp_server_name=None,
        bootfile=None,
        smb=None,
        smbserver=None,
        hostfwd=(),
        guestfwd=(),
        mtu=1500,
        host_loopback=True,
        leases=None,
        dhcp_hosts=(),
        host_records=(),
    )


def test_every_option_is_read() -> None:
    options = user(
        "net=192.168.76.9/24,host=192.168.76.1,dns=9.9.9.9,dhcpstart=192.168.76.100,hostname=vm,"
        "hostfwd=udp:127.0.0.1:5353-192.168.76.100:53,hostfwd=::0x50-:80,mtu=65520,host-loopback=off,ipv4=on"
    )
    assert addresses(options) == ("192.168.76.0/24", "192.168.76.1", "9.9.9.9", "192.168.76.100")
    assert options.ipv6 is None
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
        ("203.0.113.0", "203.0.113.0/28", "203.0.113.2", "203.0.113.3", "203.0.113.1"),
        ("10.1.0.0/255.255.0.0", "10.1.0.0/16", "10.1.2.2", "10.1.2.3", "10.1.2.15"),
        ("0x0a010000/16", "10.1.0.0/16", "10.1.2.2", "10.1.2.3", "10.1.2.15"),
        ("10.5.0.0/29", "10.5.0.0/29", "10.5.0.2", "10.5.0.3", "10.5.0.1"),
    ],
)
def test_net_implies_a_mask_and_the_other_addresses(
    net: str, result: str, host: str, dns: str, dhcpstart: str
) -> None:
    assert addresses(user(f"net={net}")) == (result, host, dns, dhcpstart)


def test_ip_is_a_net_of_24_bits_and_net_wins_over_it() -> None:
    assert addresses(user("ip=10.9.8.7"))[0] == "10.9.8.0/24"
    assert addresses(user("ip=10.9.8.7,net=10.1.2.0/25"))[0] == "10.1.2.0/25"


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
        (f"hostname={'ä' * 128}", "'vhostname' parameter cannot exceed 255 bytes"),
        ("domainname=", "'domainname' parameter cannot be empty"),
        (f"domainname={'x' * 256}", "'domainname' parameter cannot exceed 255 bytes"),
        (f"tftp-server-name={'x' * 256}", "'tftp-server-name' parameter cannot exceed 255 bytes"),
        (f"bootfile={'x' * 128}", "'bootfile' parameter cannot exceed 127 bytes"),
        ("dnssearch=a..b", "Parameter 'dnssearch' expects a domain name, which 'a..b' is not"),
        ("dnssearch=", "Parameter 'dnssearch' expects a domain name, which '' is not"),
        ("smbserver=x", "Failed to parse SMB address"),
        ("smb=/home,smbserver=10.0.2.2", "Conflicting/invalid smbserver address"),
        ("smb=/home,smbserver=10.0.3.4", "Conflicting/invalid smbserver address"),
        ("smb=/home,guestfwd=tcp:10.0.2.4:445-cmd:cat", "Conflicting/invalid smbserver address"),
        ("smb=/home,ipv4=off", "Conflicting/invalid smbserver address"),
        ("ipv6-net=", "Parameter 'ipv6-net' expects a valid IPv6 prefix"),
        ("ipv6-net=x", "Failed to parse IPv6 prefix"),
        ("ipv6-net=/64", "Failed to parse IPv6 prefix"),
        ("ipv6-net=fd00::/x", "parameter 'ipv6-net' expects a number after '/'"),
        ("ipv6-net=fd00::/", "parameter 'ipv6-net' expects a number after '/'"),
        ("ipv6-net=fd00::/64/3", "parameter 'ipv6-net' expects a number after '/'"),
        ("ipv6-net=fd00::/127", NO_PREFIX),
        ("ipv6-net=fd00::/-1", NO_PREFIX),
        ("ipv6-prefixlen=127", NO_PREFIX),
        ("ipv6-prefixlen=x", "Parameter 'ipv6-prefixlen' expects an int64 value"),
        ("ipv6-prefix=ff02::", "Invalid IPv6 prefix provided ('ff02::' is none that a router announces)"),
        ("ipv6-prefix=fe80::", "Invalid IPv6 prefix provided ('fe80::' is none that a router announces)"),
        ("ipv6-host=x", "Failed to parse IPv6 host"),
        ("ipv6-host=fd00::1", "IPv6 Host doesn't belong to network"),
        ("ipv6-dns=x", "Failed to parse IPv6 DNS"),
        ("ipv6-dns=fd00::1,restrict=on", "IPv6 DNS doesn't belong to network"),
        ("ipv6-dns=fec0::2", "IPv6 DNS must be different from host"),
        ("ipv6=off,ipv6-host=fec0::2", "IPv6 disabled but prefix/host6/dns6 provided"),
        ("ipv6=off,ipv6-net=fec0::", "IPv6 disabled but prefix/host6/dns6 provided"),
        ("ipv6=off,ipv6-dns=fec0::3", "IPv6 disabled but prefix/host6/dns6 provided"),
        ("ipv4=off,dhcpstart=x", "Failed to parse DHCP start address"),
        ("ipv4=off,smbserver=x", "Failed to parse SMB address"),
        ("ipv6=off,ipv6-prefixlen=127", NO_PREFIX),
        ("mtu=1279,ipv6=on", "Parameter 'mtu' expects at least 1280 with IPv6"),
        ("mtu=1279,ipv4=off", "Parameter 'mtu' expects at least 1280 with IPv6"),
        ("ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
        ("ipv4=off,net=10.0.2.0/24", "IPv4 disabled but netmask/host/dns provided"),
        ("ipv4=off,ipv6=off,dns=10.0.2.3", "IPv4 disabled but netmask/host/dns provided"),
        ("ipv6=on,host=10.0.2.2", "IPv4 disabled but netmask/host/dns provided"),
        ("restrict=1", "Parameter 'restrict' expects 'on' or 'off'"),
        ("mtu=x", "Parameter 'mtu' expects a uint64 value"),
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
    ("options", "ipv4", "ipv6"),
    [
        ("", True, True),
        ("ipv4=on", True, False),
        ("ipv4=off", False, True),
        ("ipv6=on", False, True),
        ("ipv6=off", True, False),
        ("ipv4=on,ipv6=on", True, True),
        ("ipv4=on,ipv6=off", True, False),
        ("ipv4=off,ipv6=on", False, True),
        ("mtu=1280", True, True),
        ("mtu=1279", True, False),
    ],
)
def test_switching_one_family_on_switches_the_other_off(options: str, ipv4: bool, ipv6: bool) -> None:
    read = user(options)
    assert (read.ipv4 is not None, read.ipv6 is not None) == (ipv4, ipv6)


@pytest.mark.parametrize(
    ("options", "net", "host", "dns"),
    [
        ("ipv6-net=fd00::/64", "fd00::/64", "fd00::2", "fd00::3"),
        ("ipv6-net=fd00::", "fd00::/64", "fd00::2", "fd00::3"),
        ("ipv6-net=fd00::/0", "fd00::/64", "fd00::2", "fd00::3"),
        ("ipv6-net=fd00::5/48", "fd00::/48", "fd00::2", "fd00::3"),
        ("ipv6-prefix=fd00::,ipv6-prefixlen=126", "fd00::/126", "fd00::2", "fd00::3"),
        ("ipv6-prefixlen=0x20", "fec0::/32", "fec0::2", "fec0::3"),
        ("ipv6-net=fd00::/64,ipv6-prefix=x,ipv6-prefixlen=7", "fd00::/64", "fd00::2", "fd00::3"),
        ("ipv6-host=fec0::1,ipv6-dns=2001:db8::53", "fec0::/64", "fec0::1", "2001:db8::53"),
    ],
)
def test_the_prefix_implies_the_other_ipv6_addresses(options: str, net: str, host: str, dns: str) -> None:
    plan = user(options).ipv6
    assert plan == Plan6(net=IPv6Network(net), host=IPv6Address(host), dns=IPv6Address(dns))


def test_what_a_guest_is_told_and_served_is_read() -> None:
    options = user(
        "hostname=vm,domainname=example.org,dnssearch=a.example,dnssearch=b.example,tftp=/srv,,x,"
        "tftp-server-name=boot,bootfile=pxelinux.0,smb=/home,smbserver=10.0.2.9,leases=/run/leases"
    )
    assert (options.domainname, options.dnssearch) == ("example.org", ("a.example", "b.example"))
    assert (options.tftp, options.tftp_server_name, options.bootfile) == ("/srv,x", "boot", "pxelinux.0")
    assert (options.smb, str(options.smbserver), options.leases) == ("/home", "10.0.2.9", "/run/leases")


def test_the_smb_server_is_there_only_with_a_directory() -> None:
    assert str(user("smb=/home,net=192.168.7.0/24").smbserver) == "192.168.7.4"
    assert user("smbserver=10.0.2.9").smbserver is None


def test_empty_texts_are_as_good_as_none() -> None:
    assert user("hostname=,tftp=,bootfile=,smb=,tftp-server-name=,leases=") == user("")


def test_leases_set_aside_and_names_for_dns_are_read() -> None:
    options = user(
        "dhcp-host=52:54:00:12:34:56/10.0.2.50/web,dhcp-host=52-54-0-12-34-56/fec0::50,"
        "host-record=db.example=10.0.2.9,host-record=db.example=fec0::9"
    )
    mac = bytes.fromhex("525400123456")
    assert options.dhcp_hosts == (
        DhcpHost(mac=mac, address=IPv4Address("10.0.2.50"), name="web"),
        DhcpHost(mac=mac, address=IPv6Address("fec0::50")),
    )
    assert options.host_records == (
        ("db.example", IPv4Address("10.0.2.9")),
        ("db.example", IPv6Address("fec0::9")),
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("52:54:00:12:34:56", "MAC/ADDRESS or MAC/ADDRESS/NAME is expected"),
        ("", "MAC/ADDRESS or MAC/ADDRESS/NAME is expected"),
        ("52:54:00:12:34/10.0.2.50", "bad MAC address"),
        ("53:54:00:12:34:56/10.0.2.50", "bad MAC address"),
        ("52:54:00-12:34:56/10.0.2.50", "bad MAC address"),
        ("52:54:00:12:34:56/x", "bad address"),
        ("52:54:00:12:34:56/", "bad address"),
        ("52:54:00:12:34:56/10.0.3.50", "not an address for a guest of this network"),
        ("52:54:00:12:34:56/10.0.2.2", "not an address for a guest of this network"),
        ("52:54:00:12:34:56/10.0.2.255", "not an address for a guest of this network"),
        ("52:54:00:12:34:56/10.0.2.50/", "bad name"),
        ("52:54:00:12:34:56/10.0.2.50/a b", "bad name"),
        ("52:54:00:12:34:57/10.0.2.51,dhcp-host=52:54:00:12:34:56/10.0.2.51", "address given twice"),
        ("52:54:00:12:34:56/10.0.2.52,dhcp-host=52:54:00:12:34:56/10.0.2.51", "MAC address given twice"),
    ],
)
def test_a_wrong_lease_set_aside_is_refused_with_its_reason(value: str, reason: str) -> None:
    assert refusal(f"dhcp-host={value}") == f"Invalid dhcp-host '{value.split('=')[-1]}' ({reason})"


@pytest.mark.parametrize("value", ["", "x", "x=", "=10.0.2.9", "a b=10.0.2.9", "x=fec0:::1"])
def test_a_wrong_name_for_dns_is_refused(value: str) -> None:
    assert refusal(f"host-record={value}") == f"Invalid host-record '{value}' (NAME=ADDRESS is expected)"


@pytest.mark.parametrize("rules", [[{"str": "tcp::1-:2"}], ["tcp::1-:2"], ({"str": "tcp::1-:2"},)])
def test_json_and_python_give_lists_as_lists(rules: object) -> None:
    options = netdev_from_dict(
        {"type": "user", "id": "u0", "hostfwd": rules, "restrict": True, "mtu": 9000, "hostname": None}
    )
    assert isinstance(options, UserOptions)
    assert options.restrict
    assert options.mtu == 9000
    assert options.hostfwd == (parse_hostfwd("tcp::1-:2"),)


def test_json_has_no_ipv6_net() -> None:
    with pytest.raises(OptionError, match=r"^Parameter 'ipv6-net' is unexpected$"):
        parse_netdev('{"type":"user","id":"u0","ipv6-net":"fd00::/64"}')
    options = parse_netdev('{"type":"user","id":"u0","ipv6-prefix":"fd00::","ipv6-prefixlen":48}')
    assert options == parse_netdev("user,id=u0,ipv6-net=fd00::/48")


def test_every_option_has_a_json_spelling() -> None:
    text = (
        '{"type":"user","id":"u0","ipv4":true,"ipv6":true,"restrict":false,"hostname":"vm","domainname":"d.example",'
        '"dnssearch":[{"str":"a.example"}],"tftp":"/srv","tftp-server-name":"boot","bootfile":"b","smb":"/home",'
        '"smbserver":"10.0.2.9","guestfwd":[{"str":"tcp:10.0.2.8:80-cmd:cat"}],"leases":"/l",'
        '"dhcp-host":[{"str":"52:54:00:12:34:56/10.0.2.50"}],"host-record":[{"str":"x=10.0.2.9"}]}'
    )
    assert parse_netdev(text) == user(
        "ipv4=on,ipv6=on,hostname=vm,domainname=d.example,dnssearch=a.example,tftp=/srv,tftp-server-name=boot,"
        "bootfile=b,smb=/home,smbserver=10.0.2.9,guestfwd=tcp:10.0.2.8:80-cmd:cat,leases=/l,"
        "dhcp-host=52:54:00:12:34:56/10.0.2.50,host-record=x=10.0.2.9"
    )


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
