"""An emulated x86 processor with an NE2000 at port 0x300: it reads the station address and sends a frame.

    python -m tests.examples.unicorn_ne2000

Needs the package unicorn. The program is 16-bit code as a boot loader might have it:

    0000  mov si, READ           0036  xor dx, dx       ; pairs of register and value
    0003  call 0036              0038  lodsb            ; up to a negative register
    0006  mov di, 0400           0039  test al, al
    0009  mov cx, 32             003b  js 0045
    000c  mov dx, 0310           003d  mov dh, 3
    000f  rep insb    ; PROM     003f  mov dl, al
    0011  mov si, 0400           0041  lodsb
    0014  mov di, 0506           0042  out dx, al
    0017  mov cx, 6              0043  jmp 0036
    001a  movsb       ; every    0045  ret
    001b  inc si      ; second
    001c  loop 001a              0046  READ:  CR 21, DCR 48, RBCR 32, RSAR 0000, CR 0a
    001e  mov si, WRITE          0055  WRITE: RBCR 60, RSAR 4000, CR 12
    0021  call 0036              0060  SEND:  TPSR 40, TBCR 60, IMR 02, CR 26
    0024  mov si, 0500
    0027  mov cx, 60
    002a  mov dx, 0310
    002d  rep outsb   ; frame
    002f  mov si, SEND
    0032  call 0036
    0035  hlt
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

from wirebay.cards.bus import Bus
from wirebay.cards.ne2000 import Ne2000

PORT, IRQ = 0x300, 10
MEMORY = 0x10000
STACK, FRAME = 0x8000, 0x500
CODE = bytes.fromhex(
    "be4600e83000bf0004b92000ba1003f36cbe0004bf0605b90600a446e2fcbe5500e81200be0005b93c00ba1003f36ebe6000e80100f4"
    "31d2ac84c07808b60388c2aceeebf1c3"
    "00210e480a200b0008000900000aff"
    "0a3c0b00080009400012ff"
    "0440053c06000f020026ff"
)
HALT = 0x35


@dataclass(slots=True)
class Outcome:
    """What the program did."""

    frames: list[bytes] = field(default_factory=list)
    lines: list[tuple[int, bool]] = field(default_factory=list)


def run(mac: bytes) -> Outcome:
    """Run the program on a card with this address."""
    unicorn, x86 = importlib.import_module("unicorn"), importlib.import_module("unicorn.x86_const")
    outcome = Outcome()
    bus = Bus(
        on_frame=lambda _, frame: outcome.frames.append(frame),
        on_irq=lambda line, level: outcome.lines.append((line, level)),
    )
    bus.plug(Ne2000(mac), port=PORT, irq=IRQ)
    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_16)
    machine.mem_map(0, MEMORY)
    machine.mem_write(0, CODE)
    machine.mem_write(FRAME, b"\xff" * 6 + bytes(6) + b"\x88\xb5hello from an emulated processor")
    machine.reg_write(x86.UC_X86_REG_SP, STACK)
    machine.hook_add(
        unicorn.UC_HOOK_INSN,
        lambda _machine, port, size, _data: bus.io_read(port, size),
        aux1=x86.UC_X86_INS_IN,
    )
    machine.hook_add(
        unicorn.UC_HOOK_INSN,
        lambda _machine, port, size, value, _data: bus.io_write(port, size, value),
        aux1=x86.UC_X86_INS_OUT,
    )
    machine.emu_start(0, HALT)
    return outcome


if __name__ == "__main__":
    outcome = run(bytes.fromhex("525400123456"))
    print(f"sent: {outcome.frames[0].hex(' ')}")
    print(f"interrupt lines: {outcome.lines}")
