"""The file of wirebay serve: what is in it, and all its mistakes at once with their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirebay.config.file import Config, ConfigError, Settings, parse_config, read_config
from wirebay.config.suspect import suspect
from wirebay.errors import OptionError
from wirebay.options.chardev import parse_chardev
from wirebay.options.netdev import parse_netdev
from wirebay.options.objects import parse_object
from wirebay.wiring import Description

USER = '[[netdev]]\ntype = "user"\nid = "u0"\n'


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(text, "f")
    assert error.value.exit_status == 2
    return error.value.mistakes


def test_a_file_says_what_the_options_say() -> None:
    text = """
        control = "c.sock"
        log-level = "debug"
        [[netdev]]
        type = "user"
        id = "u0"
        net = "192.168.7.0/24"
        restrict = true
        hostfwd = ["tcp:127.0.0.1:80-:80", { str = "udp::53-:53" }]
        [[netdev]]
        type = "stream"
        id = "vm0"
        server = true
        addr = { type = "inet", host = "127.0.0.1", port = 5555 }
        [[netdev]]
        type = "hubport"
        id = "h0"
        hubid = 0
        netdev = "vm0"
        [[chardev]]
        backend = "socket"
        id = "c0"
        path = "m"
        server = true
        wait = false
        [[object]]
        qom-type = "filter-mirror"
        id = "m0"
        netdev = "vm0"
        outdev = "c0"
        queue = "tx"
    """
    options = [
        "user,id=u0,net=192.168.7.0/24,restrict=on,hostfwd=tcp:127.0.0.1:80-:80,hostfwd=udp::53-:53",
        "stream,id=vm0,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=5555",
        "hubport,id=h0,hubid=0,netdev=vm0",
    ]
    config = parse_config(text, "f")
    whole = Description(
        netdevs=tuple(map(parse_netdev, options)),
        chardevs=(parse_chardev("socket,id=c0,path=m,server=on,wait=off"),),
        objects=(parse_object("filter-mirror,id=m0,netdev=vm0,outdev=c0,queue=tx"),),
    )
    assert config == Config(settings=Settings(control="c.sock", log_level="debug"), whole=whole)
    assert (config.places["netdev", "u0"], config.places["control", ""]) == ("f:4", "f:2")


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    text = """\
control = ""
colour = 3
log-level = "loud"
pid-file = 7
[[netdev]]
type = "user"
id = "u0"
hostfwd = [
  "tcp::80-:80",
  "xcp::81-:81",
  "tcp::82-:82x",
]
foo = 1
[[netdev]]
type = "stream"
id = "vm0"
server = "on"
addr.type = "unix"
bar = 2
[[netdev]]
id = "u0"
type = "stream"
addr.type = "inet"
addr.mptcp = true
addr.host = "h"
addr.port = 1
[[netdev]]
type = "hubport"
id = "h0"
hubid = 0
netdev = "zz"
[[netdev]]
type = "user"
id = "q"
host = "1.2.3.4"
[[netdev]]
type = "strem"
id = "a b"
"""
    served = "is not served by this version of wirebay"
    assert mistakes(text) == [
        "f:1: Parameter 'control' expects a path",
        "f:2: Parameter 'colour' is unexpected",
        "f:3: Parameter 'log-level' does not accept value 'loud'",
        "f:4: Invalid parameter type for 'pid-file', expected: string",
        "f:10: Invalid host forwarding rule 'xcp::81-:81' (Bad protocol name)",
        "f:11: Invalid host forwarding rule 'tcp::82-:82x' (Bad guest port)",
        "f:13: Parameter 'foo' is unexpected",
        "f:17: Invalid parameter type for 'server', expected: boolean",
        "f:18: Parameter 'addr.path' is missing",
        "f:19: Parameter 'bar' is unexpected",
        "f:21: Duplicate ID 'u0' for netdev",
        f"f:24: option 'addr.mptcp' of the stream network {served}",
        "f:31: netdev 'zz' not found",
        "f:32: Host doesn't belong to network",
        "f:37: Parameter 'type' does not accept value 'strem'",
        "f:38: Parameter 'id' expects an identifier (a letter, then letters, digits, '-', '.', '_')",
    ]


def test_one_mistake_is_one_line_and_several_have_a_head() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config("x = 1", "f")
    assert str(error.value) == "f:1: Parameter 'x' is unexpected"
    with pytest.raises(ConfigError) as error:
        parse_config("x = 1\ny = 2", "f")
    assert str(error.value).splitlines()[0] == "2 mistakes in f"


def test_a_port_with_a_mistake_is_there_for_the_hubports_that_name_it() -> None:
    text = USER + 'foo = 1\n[[netdev]]\ntype = "hubport"\nid = "h0"\nhubid = 0\nnetdev = "u0"\n'
    assert mistakes(text) == ["f:4: Parameter 'foo' is unexpected"]


def test_no_guess_is_told_of_a_table_whose_values_could_not_be_read() -> None:
    # With the network misread, its host would seem to be outside of it.
    assert mistakes(USER + 'net = true\nhost = "192.168.7.2"\n') == [
        "f:4: Invalid parameter type for 'net', expected: string"
    ]


def test_the_same_wrong_rule_twice_is_told_twice() -> None:
    rule = "Invalid host forwarding rule 'x' (No : separators)"
    assert mistakes(USER + 'hostfwd = [\n"x",\n"x"]\n') == [f"f:5: {rule}", f"f:6: {rule}"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a = 1\nb = = 3", "f:2:5: Invalid value"),
        ("a = 1\nb = [\n", "f:2: Invalid value"),
        ('netdev = "u0"', "f:1: 'netdev' is a list of tables: write [[netdev]]"),
        ('\n[netdev]\ntype = "user"', "f:2: 'netdev' is a list of tables: write [[netdev]]"),
        ("netdev = [\n1]", "f:2: 'netdev' is a list of tables: write [[netdev]]"),
        ('log_level = "info"', "f:1: Parameter 'log_level' is unexpected"),
        (USER + "addr.type = 1", "f:4: Parameter 'addr' is unexpected"),
        (
            '[[netdev]]\ntype = "stream"\nid = "a"\naddr = 1',
            "f:4: Invalid parameter type for 'addr', expected: object",
        ),
        ("[[netdev]]", "f:1: Parameter 'id' is missing"),
        (
            USER + f'tftp = "/x"\nbootfile = "{"b" * 128}"',
            "f:5: 'bootfile' parameter cannot exceed 127 bytes",
        ),
    ],
)
def test_a_mistake_has_its_place(text: str, mistake: str) -> None:
    assert mistake in mistakes(text)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^--config /none: No such file or directory$"):
        read_config("/none")
    (tmp_path / "f").write_bytes(b"a = '\xff'")
    with pytest.raises(OptionError, match="is not UTF-8"):
        read_config(str(tmp_path / "f"))


@pytest.mark.parametrize(
    ("sentence", "path"),
    [
        ("Could not do 'b/c'", ("two", "x")),
        ("Could not do 'b' and 'b/c'", ("two", "x")),
        ("Parameter 'two.x' is bad", ("two", "x")),
        ("option 'one=on' is not served", ("one",)),
        ("Something else", ()),
    ],
)
def test_a_sentence_is_about_the_value_it_quotes_or_the_key_it_names(
    sentence: str, path: tuple[str, ...]
) -> None:
    assert suspect({"one": "b", "two": {"x": "b/c"}}, sentence) == path
