"""QEMU's command line for vhost-user: which networks go over it, and what becomes of cards and memory."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.errors import OptionError
from wirebay.options.qemu_command import Rewritten, rewrite
from wirebay.options.qemu_vhost import Transport

QEMU = "qemu-system-x86_64"
AUTO = Transport("auto")
MEMORY = (
    "-object memory-backend-memfd,id=wirebay-memory0,size={},share=on -machine memory-backend=wirebay-memory0"
)


def rewritten(line: str, transport: Transport = AUTO, program: str = QEMU) -> Rewritten:
    return rewrite([program, *shlex.split(line)], "/run/wb", transport)


def vhost(ident: str, chardev: int, number: int = 0, memory: str | None = "128M") -> str:
    words = f"{MEMORY.format(memory)} " if memory else ""
    path = f"/run/wb/net{number}.sock"
    return (
        f"{words}-chardev socket,id=wirebay{chardev},path={path} "
        f"-netdev vhost-user,id={ident},chardev=wirebay{chardev}"
    )


@pytest.mark.parametrize(
    ("line", "result"),
    [
        # -netdev, its card in every spelling
        (
            "-m 1G -netdev user,id=u0,mtu=9000 -device virtio-net-pci,netdev=u0 a.img",
            f"-m 1G {vhost('u0', 0, memory='1024M')} -device virtio-net-pci,netdev=u0 a.img",
        ),
        (
            """-device '{"driver":"virtio-net-pci","netdev":"u0"}' -netdev '{"type":"user","id":"u0"}'""",
            f"""-device '{{"driver":"virtio-net-pci","netdev":"u0"}}' {vhost("u0", 0)}""",
        ),
        (
            "-netdev user,id=u0 -net nic,model=virtio,netdev=u0",
            f"{vhost('u0', 0)} -net nic,model=virtio,netdev=u0",
        ),
        (
            "-device driver=virtio-net-device,netdev=u0 -netdev user,id=u0",
            f"-device driver=virtio-net-device,netdev=u0 {vhost('u0', 0)}",
        ),
        # -nic
        (
            "-nic user,model=virtio,mac=52:54:00:00:00:01",
            f"{vhost('wirebay0', 1)} -net nic,netdev=wirebay0,model=virtio,macaddr=52:54:00:00:00:01",
        ),
        (
            "-nic user,model=virtio-net-pci,id=x -nic user,model=virtio",
            (
                f"{vhost('x', 0)} -net nic,netdev=x,model=virtio-net-pci "
                f"{vhost('wirebay1', 2, 1, None)} -net nic,netdev=wirebay1,model=virtio"
            ),
        ),
        # -net: without the hub, whichever comes first
        ("-net nic,model=virtio -net user", f"-net nic,model=virtio,netdev=wirebay0 {vhost('wirebay0', 1)}"),
        ("-net user,id=n -net nic,model=virtio", f"{vhost('n', 0)} -net nic,model=virtio,netdev=n"),
        # the memory
        ("-m 100 -nic user,model=virtio", f"-m 100 {vhost('wirebay0', 1, memory='100M')} {{nic}}"),
        ("-m size=2g -nic user,model=virtio", f"-m size=2g {vhost('wirebay0', 1, memory='2048M')} {{nic}}"),
        (
            "-m 1 -m 65537k -nic user,model=virtio",
            f"-m 1 -m 65537k {vhost('wirebay0', 1, memory='67117056')} {{nic}}",
        ),
        ("-M q35,accel=kvm -nic user,model=virtio", f"-M q35,accel=kvm {vhost('wirebay0', 1)} {{nic}}"),
        (
            "-object memory-backend-memfd,id=m -M pc,memory-backend=m -nic user,model=virtio",
            (
                "-object memory-backend-memfd,id=m -M pc,memory-backend=m "
                f"{vhost('wirebay0', 1, memory=None)} {{nic}}"
            ),
        ),
        (
            (
                "-object memory-backend-file,id=m,size=1G,mem-path=/x,share=yes -M memory-backend=m "
                "-nic user,model=virtio"
            ),
            (
                "-object memory-backend-file,id=m,size=1G,mem-path=/x,share=yes -M memory-backend=m "
                f"{vhost('wirebay0', 1, memory=None)} {{nic}}"
            ),
        ),
        # ids in use
        (
            "-name wirebay-memory0 -chardev null,id=wirebay1 -nic user,model=virtio",
            (
                "-name wirebay-memory0 -chardev null,id=wirebay1 "
                + vhost("wirebay0", 2).replace("memory0", "memory1")
                + " {nic}"
            ),
        ),
    ],
)
def test_a_network_with_a_virtio_card_goes_over_vhost_user(line: str, result: str) -> None:
    plan = rewritten(line)
    expected = result.replace("{nic}", "-net nic,netdev=wirebay0,model=virtio")
    assert plan.argv == [QEMU, *shlex.split(expected)]
    assert all(served.vhost_user for served in plan.networks)
    assert plan.reasons == []


VIRTIO = "-nic user,model=virtio"
ON_STREAM = [
    # cards
    "",
    "-nic user",
    "-nic user,model=e1000",
    "-netdev user,id=u0",
    "-netdev user,id=u0 -device e1000,netdev=u0",
    "-netdev user,id=u0 -device virtio-net,netdev=u0",
    "-netdev user,id=u0 -device virtio-net-pci,netdev=u0,iommu_platform=on",
    "-netdev user,id=u0 -device virtio-net-pci,netdev=u0,failover=on",
    "-netdev user,id=u0 -netdev hubport,id=h,hubid=1,netdev=u0 -nic hubport,hubid=1,model=virtio",
    "-netdev user,id=u0 -device virtio-net-pci,netdev=u0 -object filter-dump,id=f,netdev=u0,file=/x",
    "-nic user,id=u0,model=virtio -object filter-dump,id=f,netdev=u0,file=/x",
    "-nic tap -nic user,model=virtio",
    "-net user -net nic",
    "-net user -net nic,model=virtio -net nic,model=virtio",
    "-net user -net nic,model=virtio -netdev hubport,id=h,hubid=0",
    "-net user -net nic,model=virtio,netdev=x -netdev tap,id=x",
    # memory
    f"{VIRTIO} -mem-path /dev/hugepages",
    f"{VIRTIO} -mem-prealloc",
    f"{VIRTIO} -numa node",
    f"{VIRTIO} -m 1G,slots=2,maxmem=4G",
    f"{VIRTIO} -m 1.5G",
    f"{VIRTIO} -m 0",
    f"{VIRTIO} -object memory-backend-ram,id=m,size=1G",
    f"{VIRTIO} -object memory-backend-ram,id=m,size=1G,share=on -M memory-backend=m",
    f"{VIRTIO} -object memory-backend-file,id=m,size=1G,mem-path=/x -M memory-backend=m",
    f"{VIRTIO} -object memory-backend-memfd,id=m,size=1G,share=off -M memory-backend=m",
    f"{VIRTIO} -M memory-backend=elsewhere",
    f"""{VIRTIO} -object '{{"qom-type":"memory-backend-ram","id":"m","size":1}}'""",
    f"{VIRTIO} -M q35,confidential-guest-support=sev0 -object sev-guest,id=sev0",
    f"{VIRTIO} -M q35,memory-encryption=sev0",
    f"{VIRTIO} -M isapc",
    f"{VIRTIO} -readconfig x",
    # the state of another QEMU
    f"{VIRTIO} -incoming tcp::1",
    f"{VIRTIO} -loadvm x",
    f"{VIRTIO} -only-migratable",
]


@pytest.mark.parametrize("line", ON_STREAM)
def test_everything_else_stays_on_a_stream_socket_and_is_refused_where_vhost_user_is_demanded(
    line: str,
) -> None:
    argv = [QEMU, *shlex.split(line)]
    plan = rewrite(argv, "/run/wb", AUTO)
    assert plan.networks
    assert (plan.argv, plan.networks) == (
        rewrite(argv, "/run/wb").argv,
        rewrite(argv, "/run/wb").networks,
    )
    assert bool(plan.reasons) == (line != "")
    with pytest.raises(OptionError, match=r"^--transport vhost-user: "):
        rewrite(argv, "/run/wb", Transport("vhost-user"))


def test_each_network_goes_its_own_way() -> None:
    plan = rewritten(
        "-netdev user,id=a -device e1000,netdev=a -netdev user,id=b -device virtio-net-pci,netdev=b"
    )
    assert [served.vhost_user for served in plan.networks] == [False, True]
    assert plan.reasons == ["-netdev user,id=a: it has no virtio-net card to itself"]


@pytest.mark.parametrize("program", ["qemu-system-ppc64", "chroot", "qemu-system-s390x"])
def test_a_program_whose_memory_is_not_known_stays_on_a_stream_socket(program: str) -> None:
    plan = rewritten(VIRTIO, program=program)
    assert plan.argv == rewrite([program, *VIRTIO.split()], "/run/wb").argv
    assert program in plan.reasons[0]


@pytest.mark.parametrize(
    ("line", "card"),
    [
        (VIRTIO, "nic,netdev=wirebay0,model=virtio,vectors=0"),
        ("-net user,id=n -net nic,model=virtio", "nic,model=virtio,netdev=n,vectors=0"),
        ("-netdev user,id=n -device virtio-net-pci,netdev=n", "virtio-net-pci,netdev=n,vectors=0"),
        ("-netdev user,id=n -device virtio-net-pci,netdev=n,vectors=4", "virtio-net-pci,netdev=n,vectors=4"),
        ("-netdev user,id=n -device virtio-net-device,netdev=n", "virtio-net-device,netdev=n"),
        (
            """-netdev user,id=n -device '{"driver":"virtio-net-pci","netdev":"n"}'""",
            '{"driver": "virtio-net-pci", "netdev": "n", "vectors": 0}',
        ),
    ],
)
def test_a_card_does_without_msi_x_for_a_qemu_that_dies_of_it(line: str, card: str) -> None:
    assert rewritten(line, Transport("vhost-user", without_vectors=True)).argv[-1] == card


@given(st.lists(st.text(max_size=8)), st.sampled_from(["-nic user,model=virtio", "-net user"]))
def test_what_is_not_understood_is_never_changed(words: list[str], ours: str) -> None:
    argv = [QEMU, *ours.split(), "-drive", *words[:1]]
    tail = argv[3:]
    assert rewrite(argv, "/run/wb", AUTO).argv[-len(tail) :] == tail
