"""Files below a directory that cannot be left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lab import open_descriptors
from wirebay.services.tftp_files import Source, open_beneath


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A tree to serve, beside a secret."""
    (tmp_path / "secret").write_bytes(b"secret")
    top = tmp_path / "top"
    (top / "boot" / "x86").mkdir(parents=True)
    (top / "kernel").write_bytes(b"kernel")
    (top / "boot" / "x86" / "initrd").write_bytes(b"initrd")
    return top


def read(top: Path, name: bytes) -> bytes:
    source = Source(open_beneath(str(top), name))
    try:
        return source.read(1 << 20)
    finally:
        source.close()


@pytest.mark.parametrize("name", [b"kernel", b"/kernel", b"//kernel", b"./kernel"])
def test_slashes_at_the_start_do_not_count(top: Path, name: bytes) -> None:
    assert read(top, name) == b"kernel"


def test_files_in_directories_are_found(top: Path) -> None:
    assert read(top, b"/boot//x86/./initrd") == b"initrd"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("boot/current", "x86/initrd"),
        ("boot/x86/up", "../../boot/x86/initrd"),
        ("again", "boot/x86/initrd"),
        ("deep", "boot/./x86/../x86/initrd"),
    ],
)
def test_links_that_stay_inside_are_followed(top: Path, link: str, target: str) -> None:
    (top / link).symlink_to(target)
    assert read(top, link.encode()) == b"initrd"


def test_links_to_directories_and_to_links_are_followed(top: Path) -> None:
    (top / "arch").symlink_to("boot/x86")
    (top / "boot" / "first").symlink_to("../arch/initrd")
    assert read(top, b"arch/initrd") == read(top, b"boot/first") == b"initrd"


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/passwd", "boot/../../secret", "boot/x86/../../../secret", "out/secret"]
)
def test_links_that_lead_out_are_refused(top: Path, target: str) -> None:
    (top / "out").symlink_to("..")
    (top / "leak").symlink_to(target)
    with pytest.raises(PermissionError):
        open_beneath(str(top), b"leak")


def test_a_link_to_the_top_by_its_full_name_is_refused(top: Path) -> None:
    (top / "full").symlink_to(top / "kernel")
    with pytest.raises(PermissionError):
        open_beneath(str(top), b"full")


@pytest.mark.parametrize("name", [b"../secret", b"/../secret", b"boot/../kernel", b".."])
def test_names_with_two_dots_are_refused(top: Path, name: bytes) -> None:
    with pytest.raises(PermissionError):
        open_beneath(str(top), name)


def test_links_in_a_circle_are_refused(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_beneath(str(top), b"a")


def test_what_is_no_regular_file_is_refused(top: Path) -> None:
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(top / "socket"))
    for name in (b"", b"/", b"boot", b"boot/", b"fifo", b"socket", b"kernel/x", b"nothing", b"x" * 300):
        with pytest.raises(OSError):
            open_beneath(str(top), name)


def test_a_directory_that_is_missing_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(str(tmp_path / "missing"), b"kernel")


def test_nothing_stays_open(top: Path) -> None:
    before = open_descriptors()
    (top / "out").symlink_to("../secret")
    for name in (b"boot/x86/initrd", b"boot/x86", b"boot/nothing", b"out"):
        try:
            os.close(open_beneath(str(top), name))
        except OSError:
            continue
    assert open_descriptors() == before


@given(content=st.lists(st.sampled_from([b"\r", b"\n", b"a", b"bc"])).map(b"".join), size=st.integers(1, 9))
def test_netascii_is_the_same_text_however_it_is_cut(content: bytes, size: int) -> None:
    fd = os.memfd_create("text")
    os.pwrite(fd, content, 0)
    source = Source(fd, netascii=True)
    blocks = [source.read(size)]
    while len(blocks[-1]) == size:
        blocks.append(source.read(size))
    source.close()
    sent = b"".join(blocks)
    assert sent == content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
    assert sent.replace(b"\r\n", b"\n").replace(b"\r\0", b"\r") == content


def test_a_source_knows_its_size_and_closes_once(top: Path) -> None:
    source = Source(open_beneath(str(top), b"kernel"))
    assert source.size == 6
    source.close()
    source.close()
