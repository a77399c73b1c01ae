"""The user network beside QEMU's own: the same frames, the same answers, field by field."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.oracles.user import rig
from tests.oracles.user.compare import Accepted, Difference, differences, read_accepted
from tests.oracles.user.host import Host, a_host
from tests.oracles.user.scenes import arp, dhcp, discovery, dns, forwards, icmp, restricted, tcp, tftp, udp
from tests.oracles.user.script import Answers, Scene, play
from tests.oracles.user.stage import Stage
from tests.support import require_namespaces

MODULES = (arp, dhcp, discovery, icmp, udp, tcp, dns, tftp, forwards, restricted)
SCENES = [scene for module in MODULES for scene in module.SCENES]
ACCEPTED = read_accepted(Path(__file__).parent / "accepted.toml")
Network = Callable[[str, Host], AbstractContextManager[rig.Wire]]


def answers(network: Network, scene: Scene, host: Host) -> Answers:
    """Play one scene on one network."""
    options = scene.options.format(folder=host.folder)
    with host.sockets, network(options, host) as wire:
        return play(scene, Stage(wire, host))


def compared(scene: Scene, host: Host) -> list[Difference] | AssertionError:
    """The differences of a scene, or why it could not be played."""
    try:
        theirs, ours = (answers(network, scene, host) for network in (rig.qemu, rig.wirebay))
    except AssertionError as error:
        return error
    return differences(scene.name, theirs, ours)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Difference] | AssertionError]:
    """The differences of every scene: all are played, since an accepted one may be in any of them."""
    require_namespaces()
    folder = tmp_path_factory.mktemp("host")
    for name, data in tftp.FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with a_host(folder) as host:
        return {scene.name: compared(scene, host) for scene in SCENES}


@pytest.mark.parametrize("name", [scene.name for scene in SCENES])
def test_it_answers_as_qemus_user_network_does(
    name: str, found: dict[str, list[Difference] | AssertionError]
) -> None:
    result = found[name]
    if isinstance(result, AssertionError):
        raise result
    unaccepted = [item for item in result if not any(entry.covers(item) for entry in ACCEPTED)]
    assert not unaccepted, "\n".join(map(str, unaccepted))


@pytest.mark.parametrize("entry", ACCEPTED, ids=str)
def test_an_accepted_difference_still_occurs(
    entry: Accepted, found: dict[str, list[Difference] | AssertionError]
) -> None:
    lists = [result for result in found.values() if not isinstance(result, AssertionError)]
    assert any(entry.covers(item) for items in lists for item in items), entry.reason
