"""Filters and chardevs as -object and -chardev spell them; the sentences are those of QEMU 7.2 and 11.1."""

from __future__ import annotations

import pytest

from wirebay.errors import OptionError
from wirebay.options.chardev import ChardevOptions, parse_chardev
from wirebay.options.objects import (
    BufferOptions,
    DumpOptions,
    MirrorOptions,
    RedirectorOptions,
    object_from_dict,
    parse_object,
)
from wirebay.options.sizes import parse_size
from wirebay.options.types import FdAddr, InetAddr, UnixAddr

DUMP = "filter-dump,id=f,netdev=u,file=x"


def test_a_capture_has_qemus_defaults() -> None:
    options = parse_object(DUMP)
    assert options == DumpOptions(id="f", netdev="u", file="x", maxlen=65536)
    assert (options.queue, options.position, options.behind, options.status) == ("all", "tail", True, True)


def test_all_options_are_read() -> None:
    text = f"{DUMP},maxlen=0x100,queue=rx,status=off,position=id=g,insert=before"
    assert parse_object(f"{text},format=pcapng,max-size=2M,files=5") == DumpOptions(
        id="f", netdev="u", file="x", maxlen=256, queue="rx", status=False, position="g", behind=False,
        format="pcapng", max_size=2 << 20, files=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("filter-mirror,id=f,netdev=u,outdev=c", MirrorOptions(id="f", netdev="u", outdev="c")),
        (
            "filter-redirector,id=f,netdev=u,indev=a,outdev=b,vnet_hdr_support=on",
            RedirectorOptions(id="f", netdev="u", indev="a", outdev="b", vnet_hdr_support=True),
        ),
        ("filter-buffer,id=f,netdev=u,interval=1000", BufferOptions(id="f", netdev="u", interval=1000)),
        (
            '{"qom-type":"filter-buffer","id":"f","netdev":"u","interval":7}',
            BufferOptions(id="f", netdev="u", interval=7),
        ),
    ],
)
def test_each_kind_is_read_in_both_spellings(text: str, options: object) -> None:
    assert parse_object(text) == options


def test_python_programs_give_paths_and_numbers() -> None:
    values = {"qom-type": "filter-dump", "id": "f", "netdev": "u", "file": "x", "maxlen": 7, "max-size": 8192}
    assert object_from_dict(values) == DumpOptions(
        id="f", netdev="u", file="x", maxlen=7, max_size=8192, files=2
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bogus,id=f", "Parameter 'qom-type' does not accept value 'bogus'"),
        ("id=f", "Parameter 'qom-type' is missing"),
        ("filter-dump,netdev=u,file=x", "Parameter 'id' is missing"),
        ("filter-dump,id=f,file=x", "Parameter 'netdev' is missing"),
        ("filter-dump,id=f,netdev=u", "Parameter 'file' is missing"),
        (f"{DUMP},foo=1", "Invalid parameter 'foo'"),
        (f"{DUMP},maxlen=0", "Property 'filter-dump.maxlen' doesn't take value '0'"),
        (f"{DUMP},maxlen=x", "Parameter 'maxlen' expects a uint64 value"),
        (f"{DUMP},queue=both", "Parameter 'queue' does not accept value 'both'"),
        (f"{DUMP},status=maybe", "Invalid value for netfilter status, should be 'on' or 'off'"),
        (f"{DUMP},position=mid", "Parameter 'position' expects 'head', 'tail' or 'id=<id>'"),
        (f"{DUMP},insert=mid", "Parameter 'insert' does not accept value 'mid'"),
        (f"{DUMP},format=erf", "Parameter 'format' does not accept value 'erf'"),
        (f"{DUMP},files=3", "Parameter 'files' expects a number from 1, beside max-size="),
        (f"{DUMP},max-size=4095", "Parameter 'max-size' expects at least 4096 bytes"),
        (f"{DUMP},max-size=big", "Parameter 'max-size' expects a size value"),
        ("filter-mirror,id=f,netdev=u", "Parameter 'outdev' is missing"),
        (
            "filter-redirector,id=f,netdev=u",
            "filter redirector needs 'indev' or 'outdev' at least one property set",
        ),
        (
            "filter-redirector,id=f,netdev=u,indev=a,outdev=a",
            "'indev' and 'outdev' could not be same for filter redirector",
        ),
        ("filter-buffer,id=f,netdev=u", "Parameter 'interval' is missing"),
        (
            "filter-buffer,id=f,netdev=u,interval=0",
            "Property 'filter-buffer.interval' requires a positive value",
        ),
        ("filter-rewriter,id=f", "object type 'filter-rewriter' is not served by this version of wirebay"),
    ],
)
def test_a_wrong_filter_is_refused_in_qemus_words(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_object(text)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("17b", 17), ("1k", 1024), ("2M", 2 << 20), ("1G", 1 << 30), ("1t", 1 << 40)],
)
def test_sizes_have_suffixes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "1kk", "9" * 33])
def test_other_texts_are_no_sizes(text: str) -> None:
    assert parse_size(text) is None


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            "socket,id=c,path=/tmp/x,server=on,wait=off",
            ChardevOptions(id="c", addr=UnixAddr(path="/tmp/x"), server=True),
        ),
        (
            "socket,id=c,host=h,port=1,reconnect=2",
            ChardevOptions(id="c", addr=InetAddr(host="h", port="1"), reconnect_ms=2000),
        ),
        ("socket,id=c,fd=7,nodelay=on", ChardevOptions(id="c", addr=FdAddr(fd="7"))),
        (
            "socket,id=c,port=1,server=on,to=9,ipv6=off",
            ChardevOptions(id="c", addr=InetAddr(host="", port="1", to=9, ipv6=False), server=True),
        ),
    ],
)
def test_chardevs_are_sockets(text: str, options: ChardevOptions) -> None:
    assert parse_chardev(text) == options


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("socket,path=x", "chardev: no id specified"),
        ("id=c,path=x", 'chardev: "c" missing backend'),
        ("foo,id=c", "'foo' is not a valid char driver name"),
        ("pty,id=c", "chardev backend 'pty' is not served by this version of wirebay"),
        ("socket,id=c", "None or one of 'path', 'fd' or 'host' option required."),
        ("socket,id=c,path=x,host=h", "None or one of 'path', 'fd' or 'host' option required."),
        ("socket,id=c,host=h", "chardev: socket: no port given"),
        ("socket,id=c,path=x,foo=1", "Invalid parameter 'foo'"),
        ("socket,id=c,path=x,wait=on", "'wait' option is incompatible with socket in client connect mode"),
        (
            "socket,id=c,path=x,server=on,reconnect=1",
            "'reconnect' option is incompatible with socket in server listen mode",
        ),
        (
            "socket,id=c,path=x,reconnect=1,reconnect-ms=1",
            "'reconnect' and 'reconnect-ms' are mutually exclusive",
        ),
    ],
)
def test_a_wrong_chardev_is_refused_in_qemus_words(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_chardev(text)
    assert str(error.value) == sentence
