"""`wirebay qemu` with a real Linux kernel as the guest: what it gets and what it moves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.guests.guest import boot
from tests.guests.host import HostServers, digest, exchange, free_port, payload
from tests.guests.place import place
from tests.guests.processes import TIMEOUT, WIREBAY

QEMU = [*WIREBAY, "qemu", "--"]
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("qemu")

ASK = """
from tests.guests.host import exchange, payload
data = payload(1_000_000, seed=3)
assert exchange(8080, data, address="192.0.2.1") == data
"""


def there_and_back(servers: HostServers) -> str:
    """A guest's script: download what the host has, tell its checksum, upload it."""
    return f"""
        nc 10.0.2.2 {servers.download} -e sh -c 'cat > /tmp/file'
        echo "@sum sha=$(sha256sum < /tmp/file | cut -d ' ' -f 1)"
        nc 10.0.2.2 {servers.upload} -e cat /tmp/file
    """


@pytest.mark.parametrize("transport", ["stream", "vhost-user"])
def test_a_kernel_gets_its_lease_and_moves_100_mb_each_way_unharmed(
    servers: HostServers, transport: str
) -> None:
    command = [*QEMU[:-1], "--transport", transport, "--"]
    network = ["-nic", "user,model=virtio-net-pci,hostname=guest7,mtu=1400"]
    with boot(command, network, there_and_back(servers), memory=512) as guest:
        lease = guest.fields("@lease")
        assert (lease["ip"], lease["mask"], lease["router"]) == ("10.0.2.15", "24", "10.0.2.2")
        assert (lease["dns"], lease["mtu"], lease["hostname"]) == ("10.0.2.3", "1400", "guest7")
        assert guest.fields("@sum")["sha"] == digest(payload(100_000_000))
        assert servers.uploaded(TIMEOUT).data == payload(100_000_000)
        assert guest.finish() == 0


def test_a_command_line_without_a_network_has_qemus_default_card_and_it_works() -> None:
    data = payload(10_000_000)
    with HostServers(data) as servers, boot(QEMU, [], there_and_back(servers)) as guest:
        assert guest.fields("@nic")["driver"] == "e1000"
        assert guest.fields("@lease")["ip"] == "10.0.2.15"
        assert guest.fields("@sum")["sha"] == digest(data)
        assert servers.uploaded(TIMEOUT).data == data
        assert guest.finish() == 0


def test_each_card_has_a_network_of_its_own() -> None:
    network = ["-nic", "user,model=e1000"]
    network += ["-netdev", "user,id=n1,net=192.168.9.0/24", "-device", "ne2k_pci,netdev=n1"]
    network += ["-net", "nic,model=rtl8139", "-net", "user,net=10.77.0.0/16"]
    with boot(QEMU, network) as guest:
        leases = {lease["ip"] for lease in (guest.fields("@lease") for _ in range(3))}
        assert guest.finish() == 0
    assert leases == {"10.0.2.15", "192.168.9.15", "10.77.2.15"}


def test_a_forward_leads_to_the_guest_and_restrict_keeps_it_from_going_out(servers: HostServers) -> None:
    port, data = free_port(), payload(1_000_000, seed=3)
    script = f"""
        nc -w 3 10.0.2.2 {servers.download} < /dev/null | wc -c > /tmp/count
        echo "@out bytes=$(cat /tmp/count)"
        nc -l -p 7000 -e cat
    """
    network = ["-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:7000"]
    with boot(QEMU, network, script) as guest:
        assert guest.fields("@out")["bytes"] == "0"
        assert exchange(port, data) == data
        assert guest.finish() == 0


def test_the_guest_sees_the_address_of_a_client_that_is_another_machine() -> None:
    script = """
        echo '
            echo "@peer address=$(netstat -tn | grep :7000 | tr -s " " | cut -d " " -f 5)" > /dev/console
            exec cat
        ' > /tmp/serve
        nc -l -p 7000 -e sh /tmp/serve
    """
    network = ["-nic", "user,model=virtio-net-pci,hostfwd=tcp::8080-:7000"]
    with place() as host, place(host.into, ("--net", "--mount")) as client:
        host.link(client, "192.0.2.1/24", "192.0.2.2/24")
        with boot([*host.into, *QEMU], network, script) as guest:
            guest.line("@begin")
            client.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", ASK)
            assert guest.fields("@peer")["address"].startswith("::ffff:192.0.2.2:")
            assert guest.finish() == 0
