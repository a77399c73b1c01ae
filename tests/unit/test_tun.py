"""TAPs: what is asked of the kernel, and what is said when it refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import pytest

from wirebay import tun
from wirebay.errors import HostError, OptionError

TAP, NO_PI, VNET_HDR = 0x0002, 0x1000, 0x4000


class Kernel:
    """/dev/net/tun as fcntl.ioctl sees it. `refuse` holds, for a request, the error number it fails with."""

    def __init__(self) -> None:
        self.features = TAP | NO_PI | VNET_HDR
        self.offloads = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40
        self.attached: tuple[bytes, int] | None = None
        self.header_size: int | None = None
        self.offered: list[int] = []
        self.refuse: dict[int, int] = {}

    def ioctl(self, fd: int, request: int, argument: bytes | int = 0) -> bytes:
        if request in self.refuse:
            raise OSError(self.refuse[request], os.strerror(self.refuse[request]))
        if isinstance(argument, int):
            return self.set_offload(argument)
        match request:
            case tun.TUNGETFEATURES:
                return struct.pack("I", self.features)
            case tun.TUNSETVNETHDRSZ:
                (self.header_size,) = struct.unpack("i", argument)
                return argument
            case tun.TUNSETIFF:
                name, flags = struct.unpack("16sH22x", argument)
                self.attached = name.rstrip(b"\0") or b"tap7", flags
        assert self.attached is not None
        return struct.pack("16sH22x", *self.attached)

    def set_offload(self, offloads: int) -> bytes:
        self.offered.append(offloads)
        if offloads & ~self.offloads:
            raise OSError(errno.EINVAL, "Invalid argument")
        return b""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    device = tmp_path / "tun"
    device.touch()
    kernel = Kernel()
    monkeypatch.setattr(tun, "DEVICE", str(device))
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    return kernel


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_tap_is_opened_with_offloads_and_a_header_of_twelve_bytes(kernel: Kernel) -> None:
    tap = tun.open_tap("tap0")
    assert (tap.name, tap.offloads) == ("tap0", ["csum", "tso4", "tso6", "uso4", "uso6"])
    assert kernel.attached == (b"tap0", TAP | NO_PI | VNET_HDR)
    assert kernel.header_size == 12
    assert not os.get_blocking(tap.fd)
    assert not os.get_inheritable(tap.fd)
    os.close(tap.fd)


def test_the_kernel_names_a_tap_that_has_no_name(kernel: Kernel) -> None:
    tap = tun.open_tap()
    assert tap.name == "tap7"
    os.close(tap.fd)


@pytest.mark.parametrize(
    ("offloads", "expected"),
    [
        (0x0F, ["csum", "tso4", "tso6"]),
        (0x07, ["csum", "tso4", "tso6"]),
        (0x01, ["csum"]),
    ],
)
def test_an_older_kernel_gives_the_offloads_it_has(
    kernel: Kernel, offloads: int, expected: list[str]
) -> None:
    kernel.offloads = offloads
    tap = tun.open_tap("tap0")
    assert tap.offloads == expected
    assert kernel.offered == sorted(kernel.offered, reverse=True)
    os.close(tap.fd)


def test_vnet_hdr_off_leaves_frames_as_they_are(kernel: Kernel) -> None:
    tap = tun.open_tap("tap0", vnet_hdr=False)
    assert tap.offloads == []
    assert kernel.attached == (b"tap0", TAP | NO_PI)
    assert kernel.header_size is None
    os.close(tap.fd)


def test_vnet_hdr_on_is_an_error_where_the_kernel_has_none(kernel: Kernel) -> None:
    kernel.features &= ~VNET_HDR
    with pytest.raises(HostError, match="no kernel support for IFF_VNET_HDR"):
        tun.open_tap("tap0", vnet_hdr=True)
    tap = tun.open_tap("tap0")
    assert tap.offloads == []
    os.close(tap.fd)


@pytest.mark.parametrize("name", ["", "a234567890123456", "ä" * 8])
def test_a_name_of_the_wrong_length_is_refused_before_anything_is_opened(kernel: Kernel, name: str) -> None:
    with pytest.raises(OptionError, match=f"ifname: '{name}'"):
        tun.open_tap(name)
    assert kernel.attached is None


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EPERM, r"could not configure .*tun \(tap0\): Operation not permitted; it takes CAP_NET_ADMIN"),
        (errno.EBUSY, r"\(tap0\): Device or resource busy; another program has the interface open"),
        (errno.EINVAL, r"\(tap0\): Invalid argument$"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing_open(
    kernel: Kernel, number: int, sentence: str
) -> None:
    kernel.refuse[tun.TUNSETIFF] = number
    before = descriptors()
    with pytest.raises(HostError, match=sentence):
        tun.open_tap("tap0")
    assert descriptors() == before


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "is missing: load the kernel module with 'modprobe tun'"),
        (errno.ENODEV, "is missing: load the kernel module with 'modprobe tun'"),
        (errno.EACCES, "may not be opened by this user: chmod 0666 it"),
        (errno.EMFILE, "could not be opened: Too many open files"),
    ],
)
def test_a_device_that_cannot_be_opened_comes_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(HostError, match=f"^/dev/net/tun {remedy}"):
            tun.open_tap()


def test_a_tap_that_was_passed_in_is_taken_as_it_is(kernel: Kernel) -> None:
    kernel.attached = b"br-tap3", TAP | NO_PI | VNET_HDR
    read, write = os.pipe()
    os.set_inheritable(read, True)
    tap = tun.adopt_tap(read)
    assert (tap.fd, tap.name) == (read, "br-tap3")
    assert tap.offloads == ["csum", "tso4", "tso6", "uso4", "uso6"]
    assert kernel.header_size == 12
    assert not os.get_blocking(read)
    assert not os.get_inheritable(read)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("flags", "vnet_hdr", "sentence"),
    [
        (0x0001 | NO_PI, None, "is no TAP opened with IFF_TAP and IFF_NO_PI"),
        (TAP, None, "is no TAP opened with IFF_TAP and IFF_NO_PI"),
        (TAP | NO_PI, True, "vnet_hdr=on: .* opened without vnet header"),
    ],
)
def test_a_descriptor_that_is_no_fitting_tap_is_refused(
    kernel: Kernel, flags: int, vnet_hdr: bool | None, sentence: str
) -> None:
    kernel.attached = b"tap0", flags
    read, write = os.pipe()
    with pytest.raises(HostError, match=sentence):
        tun.adopt_tap(read, vnet_hdr=vnet_hdr)
    os.close(read)
    os.close(write)


def test_other_descriptors_are_refused_in_the_words_of_qemu() -> None:
    read, write = os.pipe()
    with pytest.raises(HostError, match=f"^Unable to query TUNGETIFF on FD {read}: Inappropriate ioctl"):
        tun.adopt_tap(read)
    os.close(read)
    os.close(write)
    with pytest.raises(
        HostError, match=f"^Can't set file descriptor {read} non-blocking: Bad file descriptor"
    ):
        tun.adopt_tap(read)
