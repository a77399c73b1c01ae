"""The parts of the test guest that need no guest: archive format, module order, console lines."""

from __future__ import annotations

import gzip
import lzma
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guests import cpio, modules
from tests.guests.console import ESCAPES, fields


def members(archive: bytes) -> list[cpio.Entry]:
    """A naive reader of the format: header of 13 hexadecimal words, name, data, each padded to 4 bytes."""
    found: list[cpio.Entry] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        words = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + words[11]]
        assert name.endswith(b"\0")
        start = (at + 110 + words[11] + 3) // 4 * 4
        at = (start + words[6] + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return found
        found.append(
            cpio.Entry(name=name[:-1].decode(), mode=words[1], data=archive[start : start + words[6]])
        )


@given(st.lists(st.tuples(st.from_regex(r"[a-z/]{1,12}", fullmatch=True), st.binary(max_size=40))))
def test_archive_gives_back_what_went_in(files: list[tuple[str, bytes]]) -> None:
    entries = [cpio.file(name, data) for name, data in files]
    assert members(cpio.archive(entries)) == entries


def test_archive_keeps_kinds_and_permissions() -> None:
    entries = [cpio.directory("bin"), cpio.file("bin/sh", b"x", executable=True)]
    modes = [entry.mode for entry in members(gzip.decompress(cpio.compressed(entries)))]
    assert modes == [stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755]


def module(folder: Path, name: str, depends: str) -> None:
    image = b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"
    data = lzma.compress(image) if name.endswith(".xz") else image
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    module(tmp_path / "a", "ne2k-pci.ko.xz", "8390,crc32")
    module(tmp_path / "b", "8390.ko", "crc32")
    module(tmp_path / "b", "crc32.ko", "")
    module(tmp_path / "b", "unwanted.ko", "")
    (tmp_path / "b" / "note.ko.txt").write_text("not a module")
    order = modules.in_order(tmp_path, ["ne2k-pci", "built_in"])
    assert list(order) == ["crc32", "8390", "ne2k_pci"]
    assert order["ne2k_pci"].startswith(b"\x7fELF")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("@end status=0", {"word": "@end", "status": "0"}),
        (
            "@lease eth0 ip=10.0.2.15 router= dns=10.0.2.3 10.0.2.4 mtu=",
            {
                "word": "@lease",
                "name": "eth0",
                "ip": "10.0.2.15",
                "router": "",
                "dns": "10.0.2.3 10.0.2.4",
                "mtu": "",
            },
        ),
        ("@begin", {"word": "@begin"}),
    ],
)
def test_console_line_is_taken_apart(line: str, values: dict[str, str]) -> None:
    assert fields(line) == values


def test_firmware_escapes_are_taken_away() -> None:
    assert ESCAPES.sub("", "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS") == "SeaBIOS"
