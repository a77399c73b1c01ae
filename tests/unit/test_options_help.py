"""-netdev help: every type and every option is there, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from wirebay.cli import main
from wirebay.errors import OptionError
from wirebay.options import link_types, netdev, types
from wirebay.options.help import OPTIONS, help_for

CLASSES = {
    "bess": types.BessOptions,
    "bridge": types.BridgeOptions,
    "hubport": types.HubportOptions,
    "l2tpv3": types.L2tpv3Options,
    "socket": types.SocketOptions,
    "stdio": types.StdioOptions,
    "switchport": types.SwitchportOptions,
    "tap": types.TapOptions,
    "vde": types.VdeOptions,
    "vfkit": types.VfkitOptions,
    "vhost-user": link_types.VhostUserOptions,
}


def test_the_types_are_those_that_are_read() -> None:
    assert set(OPTIONS) == set(netdev._READERS)
    text = help_for("help")
    assert text is not None
    assert text.splitlines() == ["Available netdev backend types:", *sorted(OPTIONS)]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_options_are_those_of_the_type(kind: str) -> None:
    underscored = {"vnet_hdr"}
    fields = {field.name for field in dataclasses.fields(CLASSES[kind])} - {"id"}
    spelled = {name if name in underscored else name.replace("_", "-") for name in fields}
    assert spelled <= set(OPTIONS[kind])


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_option_in_the_help_is_known_to_the_reader(kind: str) -> None:
    for name in OPTIONS[kind]:
        with pytest.raises(OptionError) as caught:
            netdev.parse_netdev(f"{kind},id=n,{name}=0,no-such-option=1")
        assert f"'{name}' is unexpected" not in str(caught.value)
        assert f"Invalid parameter '{name}'" not in str(caught.value)


def test_help_for_a_type_lists_its_options() -> None:
    text = help_for("vxlan,help")
    assert text is not None
    assert text.splitlines()[:3] == [
        "vxlan options:",
        "  id      - name of the port",
        "  vni     - number of the segment",
    ]
    assert help_for("type=vxlan,id=x,?") == text
    assert help_for("vxlan,id=x,vni=1") is None


def test_help_for_an_unknown_type_is_refused() -> None:
    with pytest.raises(OptionError, match="does not accept value 'bogus'"):
        help_for("bogus,help")


def test_serve_prints_the_help_and_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "-netdev", "user,id=u0", "-netdev", "help"]) == 0
    assert capsys.readouterr().out.startswith("Available netdev backend types:\nbess\n")
