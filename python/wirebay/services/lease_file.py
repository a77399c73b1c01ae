"""The file in which leases survive a restart (option `leases`).

    {"version": 1, "leases": [
     {"mac": "52:54:00:12:34:56", "address": "10.0.2.15", "until": 1790000000, "name": "vm"}]}

`until` is in seconds since 1970, null for a lease without end (BOOTP); lapsed leases stand there too, so that
a client that comes back after a year gets its address again. The file is written anew beside the old one and
then takes its place, so that whoever reads it finds one or the other. A file that cannot be read is as good
as empty; the log has one sentence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple

from wirebay.options.addresses import is_host_name, parse_mac
from wirebay.services.dhcp_leases import Binding

__all__ = ["AnyBinding", "LeaseFile", "Remembered", "dump", "load"]

VERSION = 1
MAX_SIZE = 1 << 20  # bytes; two full tables are about 60 KiB

AnyBinding = Binding[IPv4Address] | Binding[IPv6Address]


class Remembered(NamedTuple):
    """The bindings in a file."""

    ipv4: list[Binding[IPv4Address]]
    ipv6: list[Binding[IPv6Address]]


logger = logging.getLogger("wirebay")


def dump(bindings: Iterable[AnyBinding], offset: float) -> str:
    """The text of a file; `offset` is what turns the time of the bindings into seconds since 1970."""
    leases = [
        {
            "mac": binding.client.hex(":"),
            "address": str(binding.address),
            "until": None if math.isinf(binding.until) else round(binding.until + offset, 3),
            "name": binding.name,
        }
        for binding in bindings
    ]
    return json.dumps({"version": VERSION, "leases": leases}, indent=1) + "\n"


def load(text: str, offset: float) -> Remembered:
    """Read what `dump` wrote. Raises ValueError for any other text."""
    tree = json.loads(text)
    if (
        not isinstance(tree, dict)
        or tree.get("version") != VERSION
        or not isinstance(tree.get("leases"), list)
    ):
        raise ValueError("it is not a file of leases")
    remembered = Remembered([], [])
    for entry in tree["leases"]:
        mac, address, moment, name = _fields(entry)
        until = math.inf if moment is None else moment - offset
        if isinstance(address, IPv4Address):
            remembered.ipv4.append(Binding(client=mac, address=address, until=until, name=name))
        else:
            remembered.ipv6.append(Binding(client=mac, address=address, until=until, name=name))
    return remembered


def _fields(entry: Any) -> tuple[bytes, IPv4Address | IPv6Address, float | None, str | None]:
    match entry:
        case {
            "mac": str() as mac_text,
            "address": str() as address_text,
            "until": None | int() | float() as moment,
            "name": None | str() as name,
        }:
            mac, address = parse_mac(mac_text), ip_address(address_text)
        case _:
            raise ValueError("a lease in it is none")
    if mac is None or (name is not None and not is_host_name(name)):
        raise ValueError(f"the lease of {address_text} in it is none")
    return mac, address, moment, name


class LeaseFile:
    """The file at `path`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._failed = False

    def read(self, offset: float) -> Remembered:
        """The bindings in the file; none if there is no file, or, after a warning, if it is bad."""
        try:
            with self._path.open(encoding="utf-8") as file:
                return load(file.read(MAX_SIZE), offset)
        except FileNotFoundError:
            return Remembered([], [])
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            logger.warning("the leases in '%s' are forgotten: %s", self._path, reason)
            return Remembered([], [])

    def write(self, bindings: Iterable[AnyBinding], offset: float) -> None:
        """Replace the file. The first time that fails is logged, the next ones not."""
        try:
            self._replace(dump(bindings, offset))
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("leases cannot be written to '%s': %s", self._path, error.strerror)
            self._failed = True

    def _replace(self, text: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name[:200]}.", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
