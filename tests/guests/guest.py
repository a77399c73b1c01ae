"""A real Linux kernel under software emulation, as the guest of a test.

    with boot(["wirebay", "qemu", "--"], ["-nic", "user,model=e1000"], "ping -c 1 10.0.2.2") as guest:
        lease = guest.fields("@lease")
        assert guest.finish() == 0

The guest brings its cards up by itself (init.sh says what it prints), then runs the given shell script.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence

from tests.guests.console import Console
from tests.guests.image import Image, ensure
from tests.guests.packages import ImageError

QEMU = "qemu-system-x86_64"
MACHINE = ("-accel", "tcg", "-cpu", "max", "-nographic", "-no-reboot", "-vga", "none")


def require_qemu() -> None:
    """Raise ImageError where this host has no QEMU."""
    if shutil.which(QEMU) is None:
        raise ImageError(f"This host has no {QEMU}: install the package qemu-system-x86.")


def qemu_words(image: Image, script: str = "", *, memory: int = 256) -> list[str]:
    """QEMU's command line for this image, without any network option; `memory` in MiB."""
    words = [QEMU, *MACHINE, "-m", str(memory), "-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
    return [*words, "-append", "console=ttyS0 quiet panic=-1", *script_words(script)]


def script_words(script: str) -> list[str]:
    """QEMU's words that bring a shell script along, for the guest to run."""
    encoded = base64.b64encode(script.encode()).decode()
    return ["-fw_cfg", f"name=opt/org.wirebay.script,string={encoded}"] if script else []


def boot(
    before: Sequence[str],
    network: Sequence[str],
    script: str = "",
    *,
    memory: int = 256,
    image: Image | None = None,
) -> Console:
    """Boot the image: `before` is what runs QEMU (nothing: QEMU itself), `network` are QEMU's network words.

    Raises ImageError, one sentence, when this host has no QEMU or the image cannot be made.
    """
    require_qemu()
    return Console([*before, *qemu_words(image or ensure(), script, memory=memory), *network])


def netboot(before: Sequence[str], network: Sequence[str], script: str = "", *, memory: int = 512) -> Console:
    """Start a machine with nothing but what `network` says: it boots from there or not at all.

    Raises ImageError when this host has no QEMU.
    """
    require_qemu()
    words = [QEMU, *MACHINE, "-m", str(memory), "-boot", "order=n,menu=off", *script_words(script)]
    return Console([*before, *words, *network])
