"""The configuration space that an identity makes, option ROMs, and the options of a card."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from wirebay.cards.models import MODELS, card_class, registers, table
from wirebay.cards.pci import Bar, Identity, msix
from wirebay.cards.rom import fitted, read_rom
from wirebay.errors import HostError, OptionError
from wirebay.options.card import DEFAULT_MAC, CardOptions, parse_card

IDENTITY = Identity(
    vendor=0x10EC,
    device=0x8029,
    revision=3,
    bars=(Bar(256, io=True), Bar(4096)),
    sub_vendor=0x1AF4,
    sub_device=0x1100,
    vectors=3,
    capabilities=(msix(3, 1, 0, 0x800), (0x01, b"\x02\x00\x00\x00\x00\x00")),
)


def test_ids_bars_and_the_chain_of_capabilities_are_where_pci_has_them() -> None:
    space, writable = IDENTITY.config(1 << 16)
    assert struct.unpack_from("<HHHH", space) == (0x10EC, 0x8029, 0, 0x10)
    assert struct.unpack_from("<I", space, 8) == (0x02000003,)
    assert struct.unpack_from("<II", space, 0x10) == (1, 0)
    assert struct.unpack_from("<III", writable, 0x10) == (0xFFFFFF00, 0xFFFFF000, 0)
    assert struct.unpack_from("<HH", space, 0x2C) == (0x1AF4, 0x1100)
    assert struct.unpack_from("<I", writable, 0x30) == (0xFFFF0001,)
    assert space[0x34] == 0x40
    assert space[0x40:0x4E] == bytes.fromhex("114c 0200 01000000 01080000 0100".replace(" ", ""))
    assert (writable[0x42], writable[0x43]) == (0, 0xC0)
    assert IDENTITY.bar_sizes == (256, 4096, 0, 0, 0, 0)


def test_without_capabilities_and_rom_there_are_none() -> None:
    space, writable = Identity(vendor=1, device=2, bars=()).config()
    assert (space[6], space[0x34], writable[0x30:0x34]) == (0, 0, bytes(4))


def image(ids: bytes) -> bytes:
    rom = bytearray(1024)
    rom[:3] = b"\x55\xaa\x02"
    rom[0x18] = 0x1C
    rom[0x1C:0x24] = b"PCIR" + ids
    return bytes(rom)


@pytest.mark.parametrize("ids", [bytes(4), b"\x86\x80\x0e\x10"])
def test_a_rom_gets_the_ids_of_the_card_and_a_checksum(ids: bytes) -> None:
    rom = fitted(image(ids), IDENTITY)
    assert len(rom) == 2048
    assert rom[0x20:0x24] == bytes.fromhex("ec102980")
    assert sum(rom[:1024]) & 0xFF == 0


def test_a_rom_with_the_right_ids_is_left_as_it_is() -> None:
    given = image(b"\xec\x10\x29\x80")
    assert fitted(given, IDENTITY) == given.ljust(2048, b"\xff")


def test_what_is_no_rom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(OptionError, match="is no option ROM"):
        read_rom(str(tmp_path / "text"), IDENTITY)
    with pytest.raises(HostError, match="cannot be read: No such file"):
        read_rom(str(tmp_path / "none"), IDENTITY)


@pytest.mark.parametrize("data", [b"\x55\xaa", b"\x55\xaa\xff" + bytes(40), b"\x55\xaa\x01" + b"\xff" * 30])
def test_a_damaged_rom_is_only_filled_up(data: bytes) -> None:
    assert fitted(data, IDENTITY) == data.ljust(2048, b"\xff")


def test_options_are_spelled_as_for_qemus_device() -> None:
    assert parse_card("e1000") == CardOptions(model="e1000", mac=DEFAULT_MAC)
    assert parse_card("e1000,mac=02-00-00-00-00-0a,rom=a,,b.rom,trace=-") == CardOptions(
        model="e1000", mac=bytes.fromhex("02000000000a"), rom="a,b.rom", trace="-"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("e1000,mac=52:54:00", "six bytes are expected"),
        ("e1000,mac=01:00:5e:00:00:01", "is the address of a group"),
        ("e1000,netdev=u0", "Property 'e1000.netdev' not found"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        parse_card(text)


def test_the_table_has_every_model_and_each_its_registers() -> None:
    assert [line.split()[0] for line in table().splitlines()[1:]] == list(MODELS)
    for model in MODELS:
        names = [register.name for register in card_class(model).registers()]
        text = registers(model)
        assert names
        assert all(name in text for name in names)
    with pytest.raises(OptionError, match="'x' is no card"):
        registers("x")
