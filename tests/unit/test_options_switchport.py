"""`-netdev switchport`."""

from __future__ import annotations

import pytest

from wirebay.errors import OptionError
from wirebay.options.netdev import parse_netdev
from wirebay.options.types import SwitchportOptions

PORT = "switchport,id=p,switch=lan"


def test_all_options_are_read_in_both_spellings() -> None:
    whole = SwitchportOptions(
        id="p", switch="lan", netdev="vm0", vlan=10, trunk=((20, 20), (100, 199)), isolated=True
    )
    assert parse_netdev(f"{PORT},netdev=vm0,vlan=10,trunk=20:100-199,isolated=on") == whole
    numbers = '"vlan":10,"trunk":"20:100-199","isolated":true'
    json = f'{{"type":"switchport","id":"p","switch":"lan","netdev":"vm0",{numbers}}}'
    assert parse_netdev(json) == whole
    assert parse_netdev(PORT) == SwitchportOptions(id="p", switch="lan")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("switchport,id=p", "Parameter 'switch' is missing"),
        ("switchport,id=p,switch=", "Parameter 'switch' expects a name of at most 255 bytes"),
        (f"{PORT},vlan=0", "Parameter 'vlan' expects a number from 1 to 4094"),
        (f"{PORT},vlan=4095", "Parameter 'vlan' expects a number from 1 to 4094"),
        (f"{PORT},vlan=x", "Parameter 'vlan' expects a uint64 value"),
        (f"{PORT},isolated=1", "Parameter 'isolated' expects 'on' or 'off'"),
        (f"{PORT},hubid=1", "Invalid parameter 'hubid'"),
    ],
)
def test_a_wrong_option_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_netdev(text)
    assert str(error.value) == sentence


@pytest.mark.parametrize("part", ["", "0", "4095", "5-4", "1-", "-1", "a", "1-2-3"])
def test_what_is_no_range_of_vlans_is_named(part: str) -> None:
    with pytest.raises(OptionError, match=rf"such as 10:20:100-199, not '{part}'$"):
        parse_netdev(f"{PORT},trunk=7:{part}")
