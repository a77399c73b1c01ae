"""Configuring an interface: the sentences for what the kernel refuses. What it accepts is tested in a
namespace."""

from __future__ import annotations

import errno
import fcntl
import os
from ipaddress import IPv4Address, IPv4Interface

import pytest

from wirebay import ifconfig
from wirebay.errors import HostError, OptionError


@pytest.mark.parametrize(
    ("request_code", "number", "kind", "sentence"),
    [
        (ifconfig.SIOCSIFMTU, errno.EINVAL, OptionError, "^mtu: tap0 cannot have an MTU of 1400 bytes$"),
        (
            ifconfig.SIOCSIFMTU,
            errno.EPERM,
            HostError,
            "^tap0 could not be given the MTU: Operation not permitted$",
        ),
        (
            ifconfig.SIOCSIFADDR,
            errno.EPERM,
            HostError,
            "given the address 10.0.2.15/24: Operation not permitted$",
        ),
        (
            ifconfig.SIOCSIFNETMASK,
            errno.EINVAL,
            HostError,
            "given the address 10.0.2.15/24: Invalid argument$",
        ),
        (ifconfig.SIOCGIFFLAGS, errno.ENODEV, HostError, "given the state up: No such device$"),
        (ifconfig.SIOCSIFFLAGS, errno.EPERM, HostError, "given the state up: Operation not permitted$"),
        (ifconfig.SIOCADDRT, errno.EEXIST, HostError, "given the default route over 10.0.2.2: File exists$"),
    ],
)
def test_each_refusal_names_the_interface_and_what_was_refused(
    monkeypatch: pytest.MonkeyPatch, request_code: int, number: int, kind: type[Exception], sentence: str
) -> None:
    def ioctl(_: object, request: int, argument: bytes) -> bytes:
        if request == request_code:
            raise OSError(number, os.strerror(number))
        return argument

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(ifconfig._Control, "set_queue_length", lambda *_: None)
    with pytest.raises(kind, match=sentence):
        ifconfig.configure_interface(
            "tap0", IPv4Interface("10.0.2.15/24"), gateway=IPv4Address("10.0.2.2"), mtu=1400
        )


def test_an_interface_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(HostError, match=r"^none0 could not be given the MTU: No such device$"):
        ifconfig.configure_interface(
            "none0", IPv4Interface("10.0.2.15/24"), gateway=IPv4Address("10.0.2.2"), mtu=1400
        )
