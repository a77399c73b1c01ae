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
    words += ["-append", "console=ttyS0 quiet panic=-1"]
    if script:
        encoded = base64.b64encode(script.encode()).decode()
        words += ["-fw_cfg", f"name=opt/org.wirebay.script,string={encoded}"]
    return words


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
