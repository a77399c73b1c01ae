"""Domain names as DHCP and DHCPv6 carry them: search lists to guests, and the names guests have.

A name on the wire is labels with a length byte each, ended by an empty one (RFC 1035 section 3.1). Names from
guests end up in DNS answers, so what is not a plain host name is no name.
"""

from __future__ import annotations

from collections.abc import Sequence

from wirebay.options.addresses import is_host_name

MAX_LABEL = 63
_POINTER = 0xC000
_MAX_OFFSET = 0x3FFF
_WIRE_ENCODED = 0x04  # flag E of option 81, RFC 4702 section 2.1


def encode_name(name: str) -> bytes:
    """A domain name on the wire, not compressed."""
    labels = [label.encode() for label in name.removesuffix(".").split(".")]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def encode_search(names: Sequence[str]) -> bytes:
    """A search list for DHCP's option 119 (RFC 3397): tails that came before are replaced by a pointer."""
    out = bytearray()
    seen: dict[tuple[str, ...], int] = {}
    for name in names:
        labels = tuple(name.removesuffix(".").split("."))
        while labels and labels not in seen:
            if len(out) <= _MAX_OFFSET:
                seen[labels] = len(out)
            label = labels[0].encode()
            out += bytes((len(label),)) + label
            labels = labels[1:]
        out += (_POINTER | seen[labels]).to_bytes(2, "big") if labels else b"\0"
    return bytes(out)


def decode_name(wire: bytes) -> str | None:
    """A name from the wire, with or without its end (RFC 4704 section 4.2); None for no usable one."""
    labels: list[str] = []
    while wire and wire[0]:
        size = wire[0]
        if size > MAX_LABEL or len(wire) <= size:
            return None
        labels.append(wire[1 : size + 1].decode("latin-1"))
        wire = wire[size + 1 :]
    return _clean(".".join(labels))


def name_of_client(host_name: bytes | None, fqdn: bytes | None) -> str | None:
    """The name a DHCP client calls itself in options 12 and 81 (RFC 4702); None for no usable one."""
    if fqdn is not None and len(fqdn) > 3:
        name = decode_name(fqdn[3:]) if fqdn[0] & _WIRE_ENCODED else _text_name(fqdn[3:])
        if name:
            return name
    return None if host_name is None else _text_name(host_name)


def name_of_client6(fqdn: bytes | None) -> str | None:
    """The name a DHCPv6 client calls itself in option 39 (RFC 4704); None for no usable one."""
    return None if fqdn is None else decode_name(fqdn[1:])


def _text_name(text: bytes) -> str | None:
    return _clean(text.rstrip(b"\0").decode("latin-1"))


def _clean(name: str) -> str | None:
    name = name.removesuffix(".").lower()
    return name if is_host_name(name) else None
