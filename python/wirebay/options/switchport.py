"""`-netdev switchport`: a place on a switch; ours, spelled in the manner of hubport."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.reader import MAX_ID, Reader, parse_number
from wirebay.options.types import SwitchportOptions

VLANS = range(1, 4095)


def read_switchport(ident: str, reader: Reader) -> SwitchportOptions:
    """Read and check the options of `switchport`.

    `trunk` is a list of VLANs and ranges of them, joined by colons: `10:20:100-199`. Raises OptionError.
    """
    switch, netdev = reader.required("switch"), reader.string("netdev")
    vlan, trunk = reader.integer("vlan", "uint16_t"), reader.string("trunk")
    isolated = reader.boolean("isolated") or False
    reader.finish()
    if not switch or len(switch.encode(errors="surrogateescape")) > MAX_ID:
        raise OptionError(f"Parameter 'switch' expects a name of at most {MAX_ID} bytes")
    if vlan is not None and vlan not in VLANS:
        raise OptionError(f"Parameter 'vlan' expects a number from {VLANS[0]} to {VLANS[-1]}")
    ranges = None if trunk is None else tuple(map(_range, trunk.split(":")))
    return SwitchportOptions(
        id=ident, switch=switch, netdev=netdev, vlan=vlan, trunk=ranges, isolated=isolated
    )


def _range(text: str) -> tuple[int, int]:
    """One VLAN, or a range of them."""
    first, dash, last = text.partition("-")
    ends = (parse_number(first), parse_number(last if dash else first))
    match ends:
        case (int() as low, int() as high) if low in VLANS and high in VLANS and low <= high:
            return low, high
    raise OptionError(f"Parameter 'trunk' expects VLANs from 1 to 4094, such as 10:20:100-199, not '{text}'")
