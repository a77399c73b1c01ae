"""TAP devices of the kernel, opened so that frames keep their offload state.

With IFF_VNET_HDR each frame comes with a virtio-net header of 12 bytes, and with TUNSETOFFLOAD the kernel
hands over super-segments of up to 64 KiB and leaves checksums to us. Which offloads it takes depends on its
version: USO came with 6.2. A descriptor belongs to the network namespace it was opened in, for good.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from wirebay.errors import HostError, OptionError

__all__ = ["DEVICE", "Tap", "adopt_tap", "open_device", "open_tap", "set_send_buffer"]

DEVICE = "/dev/net/tun"
VNET_HEADER_SIZE = 12
MAX_NAME = 15  # IFNAMSIZ without the final zero

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNGETFEATURES = 0x800454CF
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETSNDBUF = 0x400454D4
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN, TUN_F_USO4, TUN_F_USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40

_NAMES = {TUN_F_CSUM: "csum", TUN_F_TSO4: "tso4", TUN_F_TSO6: "tso6", TUN_F_USO4: "uso4", TUN_F_USO6: "uso6"}
_TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
# The kernel takes all bits of a set or none: the sets to try, best first.
_OFFLOAD_SETS = (_TSO | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6, _TSO | TUN_F_TSO_ECN, _TSO, TUN_F_CSUM)

_IFREQ = struct.Struct("16sH22x")


@dataclass(frozen=True, slots=True)
class Tap:
    """An open TAP: a non-blocking descriptor, the interface's name, and the offloads that the kernel took.

    `offloads` has names of docs/protocol.md (csum, tso4, ...). Empty means that frames come without a vnet
    header. The holder closes `fd`; the interface goes with the last descriptor.
    """

    fd: int
    name: str
    offloads: list[str]


def open_tap(name: str | None = None, *, vnet_hdr: bool | None = None) -> Tap:
    """Open a TAP in the current network namespace: the interface `name`, or a new one the kernel names.

    `vnet_hdr` is QEMU's option: None tries, True insists, False does without. Raises OptionError for a name
    that is too long, HostError when the host refuses; each says what to do.
    """
    if name is not None and not 1 <= len(os.fsencode(name)) <= MAX_NAME:
        raise OptionError(f"ifname: '{name}' is no interface name, which has 1 to {MAX_NAME} characters")
    fd = open_device()
    try:
        flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if _has_vnet_header(fd, vnet_hdr) else 0)
        return Tap(fd, _attach(fd, name or "", flags), _set_up(fd, flags))
    except BaseException:
        os.close(fd)
        raise


def adopt_tap(fd: int, *, vnet_hdr: bool | None = None) -> Tap:
    """Take over a TAP that somebody else opened (QEMU's `fd=`).

    Raises HostError, in QEMU's words, if the descriptor is none; it stays the caller's then.
    """
    try:
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
    except OSError as error:
        raise HostError(f"Can't set file descriptor {fd} non-blocking: {error.strerror}") from error
    try:
        answer = fcntl.ioctl(fd, TUNGETIFF, bytes(_IFREQ.size))
    except OSError as error:
        raise HostError(f"Unable to query TUNGETIFF on FD {fd}: {error.strerror}") from error
    raw_name, flags = _IFREQ.unpack(answer)
    if not flags & IFF_TAP or not flags & IFF_NO_PI:
        raise HostError(f"file descriptor {fd} is no TAP opened with IFF_TAP and IFF_NO_PI")
    if vnet_hdr and not flags & IFF_VNET_HDR:
        raise HostError(f"vnet_hdr=on: the TAP of file descriptor {fd} was opened without vnet header")
    return Tap(fd, _text(raw_name), _set_up(fd, flags))


def set_send_buffer(fd: int, size: int) -> None:
    """Bound what waits in the kernel for the device's queue, in bytes (QEMU's `sndbuf=`); 0: no bound.

    Raises HostError when the kernel refuses.
    """
    if size == 0:
        return  # the kernel's own bound is INT_MAX
    try:
        fcntl.ioctl(fd, TUNSETSNDBUF, struct.pack("i", size))
    except OSError as error:
        raise HostError(f"sndbuf={size}: TUNSETSNDBUF ioctl failed: {error.strerror}") from error


def open_device() -> int:
    """Open the device that TAPs are made with. Raises HostError with the remedy."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        sentence = (
            f"{DEVICE} may not be opened by this user: chmod 0666 it, for good by a udev rule "
            """(KERNEL=="tun", MODE="0666"), or start the container with --device /dev/net/tun"""
        )
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise HostError(f"{DEVICE} could not be opened: {error.strerror}") from error
        sentence = (
            f"{DEVICE} is missing: load the kernel module with 'modprobe tun', "
            "or start the container with --device /dev/net/tun"
        )
    raise HostError(sentence)


def _has_vnet_header(fd: int, vnet_hdr: bool | None) -> bool:
    if vnet_hdr is False:
        return False
    (features,) = struct.unpack("I", fcntl.ioctl(fd, TUNGETFEATURES, bytes(4)))
    if vnet_hdr and not features & IFF_VNET_HDR:
        raise HostError("vnet_hdr=1 requested, but no kernel support for IFF_VNET_HDR available")
    return bool(features & IFF_VNET_HDR)


def _attach(fd: int, name: str, flags: int) -> str:
    try:
        answer = fcntl.ioctl(fd, TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
    except OSError as error:
        sentence = f"could not configure {DEVICE} ({name or 'tap%d'}): {error.strerror}"
        if error.errno == errno.EPERM:
            sentence += "; it takes CAP_NET_ADMIN, which 'wirebay ns' has in a namespace of its own"
        if error.errno == errno.EBUSY:
            sentence += "; another program has the interface open"
        raise HostError(sentence) from error
    return _text(_IFREQ.unpack(answer)[0])


def _set_up(fd: int, flags: int) -> list[str]:
    """Header size and offloads; returns the names of the offloads that the kernel took."""
    if not flags & IFF_VNET_HDR:
        return []
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_SIZE))
    for offloads in _OFFLOAD_SETS:
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, offloads)
        except OSError:
            continue
        return [name for bit, name in _NAMES.items() if offloads & bit]
    raise HostError(f"{DEVICE}: the kernel refuses checksum offload with a vnet header; use vnet_hdr=off")


def _text(raw: bytes) -> str:
    return os.fsdecode(raw.partition(b"\0")[0])
