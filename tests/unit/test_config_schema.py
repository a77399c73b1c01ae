"""The JSON Schema of the file: a validator takes what wirebay takes, and refuses what it refuses."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from wirebay.cli.serve import run
from wirebay.config.file import ConfigError, parse_config
from wirebay.config.schema import schema
from wirebay.options.netdev import netdev_readers

SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)
KINDS: dict[str, dict[str, Any]] = {
    kind["properties"]["type"]["const"]: kind for kind in SCHEMA["properties"]["netdev"]["items"]["oneOf"]
}

LAB = """
control = "c.sock"
api-socket = "a.sock"
pid-file = "p"
log-level = "warning"
[[netdev]]
type = "user"
id = "u0"
ipv6-prefixlen = 64
mtu = 1400
host-loopback = false
hostfwd = ["tcp::80-:80", { str = "tcp::81-:81" }]
[[netdev]]
type = "stream"
id = "a"
server = true
addr = { type = "inet", host = "::1", port = 5555, ipv6 = true, to = 5560 }
[[netdev]]
type = "stream"
id = "b"
addr = { type = "unix", path = "b", abstract = true }
reconnect-ms = 100
[[netdev]]
type = "stream"
id = "c"
addr.type = "fd"
addr.str = 7
[[netdev]]
type = "tap"
id = "t"
vnet_hdr = false
ifname = "tap7"
[[netdev]]
type = "vhost-user"
id = "v"
path = "v.sock"
[[netdev]]
type = "hubport"
id = "h"
hubid = 0
netdev = "u0"
[[netdev]]
type = "switchport"
id = "s"
switch = "lan"
netdev = "a"
vlan = 7
trunk = "10:20"
[[chardev]]
backend = "socket"
id = "d"
host = "127.0.0.1"
port = 5
server = true
wait = false
[[object]]
qom-type = "filter-dump"
id = "f"
netdev = "u0"
file = "x.pcap"
format = "pcapng"
status = "off"
maxlen = 100
[[object]]
qom-type = "filter-redirector"
id = "g"
netdev = "u0"
outdev = "d"
position = "id=f"
insert = "before"
"""


def is_taken(text: str) -> bool:
    try:
        parse_config(text, "f")
    except ConfigError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_netdev_type_is_in_it_with_a_sentence_for_people() -> None:
    assert set(KINDS) == set(netdev_readers())
    assert all(kind["description"] for kind in KINDS.values())
    assert KINDS["stream"]["description"].startswith("stream: frames over a stream socket.")


def test_a_file_with_everything_is_valid() -> None:
    assert is_taken(LAB)
    assert list(VALIDATOR.iter_errors(tomllib.loads(LAB))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('id = "u0"\n', ""),
        ('id = "u0"', 'id = "0u"'),
        ('id = "t"', "colour = 1\nid = 't'"),
        ('type = "tap"', 'type = "tap1"'),
        ("server = true", 'server = "on"'),
        ("hubid = 0", 'hubid = "0"'),
        ("hubid = 0\n", ""),
        ("mtu = 1400", "mtu = -1"),
        ("to = 5560", "to = 65536"),
        (', path = "b"', ""),
        ('path = "b"', 'path = "b", port = 1'),
        ('type = "inet"', 'type = "vsock"'),
        ('path = "v.sock"\n', ""),
        ('{ str = "tcp::81-:81" }', '{ str = "tcp::81-:81", x = 1 }'),
        ('hostfwd = ["tcp::80-:80"', "hostfwd = [80"),
        ('log-level = "warning"', 'log-level = "loud"'),
        ('control = "c.sock"', 'control = ""'),
        ('control = "c.sock"', 'kontrol = "c.sock"'),
        ('control = "c.sock"', "control = 1"),
        ("vlan = 7", 'vlan = "7"'),
        ('backend = "socket"', 'backend = "null"'),
        ("server = true\nwait", 'server = "on"\nwait'),
        ('file = "x.pcap"\n', ""),
        ('format = "pcapng"', 'format = "pcap2"'),
        ('qom-type = "filter-redirector"', 'qom-type = "filter-rewriter"'),
        ('outdev = "d"', 'outdev = "d"\nfile = "x"'),
    ],
)
def test_what_wirebay_refuses_a_validator_refuses(old: str, new: str) -> None:
    text = LAB.replace(old, new, 1)
    assert text != LAB
    assert not is_taken(text)
    assert list(VALIDATOR.iter_errors(tomllib.loads(text)))


WORDS = sorted({word for kind in KINDS.values() for word in kind["properties"]} - {"type", "id"})
VALUES = st.sampled_from(
    ["true", "1", '"x"', "[]", '["tcp::80-:80"]', "{}", "1.5", "-1", "[1]", '[{ str = "x" }]']
)


@given(st.sampled_from(sorted(KINDS)), st.sampled_from([*WORDS, "colour"]), VALUES)
def test_the_types_of_all_words_are_those_of_the_reader(kind: str, word: str, value: str) -> None:
    """One word in a table that lacks nothing; of its value only the type counts."""
    table = f'type = "{kind}"\nid = "x"\n'
    needed = {"addr": '{ type = "unix", path = "p" }', "hubid": "0", "path": '"p"'}
    needed["switch"] = '"s"'
    for name in KINDS[kind]["required"]:
        if name in needed and name != word:
            table += f"{name} = {needed[name]}\n"
    text = f"[[netdev]]\n{table}{word} = {value}\n"
    try:
        parse_config(text, "f")
    except ConfigError as error:
        told = str(error)
    else:
        told = ""
    typed = any(words in told for words in ("expected:", "is unexpected", "is missing", "int32_t", "uint"))
    assert VALIDATOR.is_valid(tomllib.loads(text)) == (not typed), told


def test_serve_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
