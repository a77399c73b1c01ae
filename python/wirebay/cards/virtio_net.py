"""virtio-net on PCI, virtio 1.x without offloads.

Source: Virtual I/O Device (VIRTIO) version 1.2, sections 4.1 (PCI) and 5.1 (network).

Theory of operation. BAR 0 has four structures, 4 KiB each: common configuration, ISR, device configuration
and notification; BAR 1 is for MSI-X, which the VMM does itself. Queue 0 receives, queue 1 sends. The driver
puts chains of buffers into a queue and writes its number to the notification structure; the engine takes them
and gives them back. What is broken in a queue makes the device need a reset, and nothing else.
"""

from __future__ import annotations

from wirebay.cards.card import Card, Memory
from wirebay.cards.ethernet import padded
from wirebay.cards.pci import Bar, Identity, msix
from wirebay.cards.register import Register, Row
from wirebay.cards.virtio_queue import LONGEST, NO_VECTOR, Buffer, Queue, QueueError
from wirebay.cards.virtio_registers import (
    COMMON,
    DEVICE,
    ISR,
    NOTIFY,
    DeviceStatus,
    Feature,
    IsrStatus,
    structure,
)

RX, TX = 0, 1
HEADER = 12  # bytes before each frame
QUANTUM = 64
LONGEST_FRAME = 65550
FEATURES = Feature.MAC | Feature.STATUS | Feature.VERSION_1
LINK_UP = 1


class VirtioNet(Card):
    """The card."""

    identity = Identity(
        vendor=0x1AF4,
        device=0x1041,
        revision=1,
        sub_vendor=0x1AF4,
        sub_device=0x1100,
        bars=(Bar(0x4000), Bar(0x1000)),
        vectors=3,
        capabilities=(
            structure(COMMON, 0x0000, 0x38),
            structure(ISR, 0x1000, 1),
            structure(DEVICE, 0x2000, 8),
            structure(NOTIFY, 0x3000, 8, 4),
            msix(3, 1, 0, 0x800),
        ),
    )
    title = "virtio-net 1.x"
    drivers = "virtio_net"

    DEVICE_FEATURE_SELECT = Register(0x00, "which half of the features", size=4)
    DEVICE_FEATURE = Register(0x04, "features offered", size=4, access="r")
    DRIVER_FEATURE_SELECT = Register(0x08, "which half of the driver's", size=4)
    DRIVER_FEATURE = Register(0x0C, "features taken", size=4)
    CONFIG_MSIX_VECTOR = Register(0x10, "vector of changes", size=2, reset=NO_VECTOR)
    NUM_QUEUES = Register(0x12, "queues", size=2, reset=2, access="r")
    DEVICE_STATUS = Register(0x14, "device status; 0 resets", bits=DeviceStatus)
    CONFIG_GENERATION = Register(0x15, "generation of the configuration", access="r")
    QUEUE_SELECT = Register(0x16, "which queue", size=2)
    QUEUE_SIZE = Register(0x18, "its entries", size=2)
    QUEUE_MSIX_VECTOR = Register(0x1A, "its vector", size=2)
    QUEUE_ENABLE = Register(0x1C, "1: it works", size=2)
    QUEUE_NOTIFY_OFF = Register(0x1E, "its place in the notification structure", size=2, access="r")
    QUEUE_DESC = Row(0x20, "its descriptors", size=4, count=2)
    QUEUE_DRIVER = Row(0x28, "its available ring", size=4, count=2)
    QUEUE_DEVICE = Row(0x30, "its used ring", size=4, count=2)
    ISR_STATUS = Register(0x1000, "causes; reading clears", bits=IsrStatus, read_clears=True, access="r")
    MAC = Row(0x2000, "station address", count=6, access="r")
    STATUS = Register(0x2006, "1: the link is up", size=2, access="r")
    QUEUE_NOTIFY = Row(0x3000, "a queue has chains", size=2, count=2, stride=4, access="w")

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        self.queues: list[Queue] = []
        super().__init__(mac, memory)

    def reset(self, now: int) -> None:
        """As after power-on."""
        super().reset(now)
        self.queues = [Queue(self), Queue(self)]
        self.features = 0

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin, for drivers without MSI-X."""
        return bool(self.ISR_STATUS)

    # Configuration.

    @DEVICE_FEATURE.on_read
    def _offer(self) -> int:
        half = self.DEVICE_FEATURE_SELECT
        return FEATURES >> 32 * half & 0xFFFFFFFF if half < 2 else 0

    @DRIVER_FEATURE.on_write
    def _take_features(self, value: int) -> None:
        half = self.DRIVER_FEATURE_SELECT
        if half < 2:
            self.features = self.features & ~(0xFFFFFFFF << 32 * half) | value << 32 * half

    @DEVICE_STATUS.on_write
    def _status(self, value: int) -> None:
        if value == 0:
            self.reset(0)
        elif self.features & ~FEATURES or not self.features & Feature.VERSION_1:
            self.DEVICE_STATUS &= ~DeviceStatus.FEATURES_OK
        self.busy = True

    @MAC.on_read
    def _station(self, index: int) -> int:
        return self.mac[index]

    @STATUS.on_read
    def _link(self) -> int:
        return LINK_UP if self.link else 0

    def set_link(self, up: bool) -> None:
        """Plug the cable in or out."""
        if up != self.link:
            self.link = up
            self._changed()

    def _changed(self) -> None:
        self.CONFIG_GENERATION = self.CONFIG_GENERATION + 1 & 0xFF
        self._tell(self.CONFIG_MSIX_VECTOR, IsrStatus.CONFIG)

    def _tell(self, vector: int, cause: int) -> None:
        if vector == NO_VECTOR:
            self.ISR_STATUS |= cause
        else:
            self.signal(vector)

    # The queue that is selected.

    @property
    def _selected(self) -> Queue | None:
        return self.queues[self.QUEUE_SELECT] if len(self.queues) > self.QUEUE_SELECT else None

    @QUEUE_SELECT.on_write
    def _select(self, value: int) -> None:
        queue = self._selected or Queue(self, size=0)
        self.QUEUE_SIZE, self.QUEUE_MSIX_VECTOR = queue.size, queue.vector
        self.QUEUE_ENABLE, self.QUEUE_NOTIFY_OFF = queue.enabled, value & 1
        for row, address in (
            (self.QUEUE_DESC, queue.descriptors),
            (self.QUEUE_DRIVER, queue.available),
            (self.QUEUE_DEVICE, queue.used),
        ):
            row[:] = address & 0xFFFFFFFF, address >> 32

    @QUEUE_SIZE.on_write
    def _size(self, value: int) -> None:
        queue = self._selected
        if queue and not queue.enabled and 0 < value <= LONGEST and value & (value - 1) == 0:
            queue.size = value
        self.QUEUE_SIZE = queue.size if queue else 0

    @QUEUE_MSIX_VECTOR.on_write
    def _vector(self, value: int) -> None:
        self.QUEUE_MSIX_VECTOR = value if value < self.identity.vectors else NO_VECTOR
        if self._selected:
            self._selected.vector = self.QUEUE_MSIX_VECTOR

    @CONFIG_MSIX_VECTOR.on_write
    def _config_vector(self, value: int) -> None:
        self.CONFIG_MSIX_VECTOR = value if value < self.identity.vectors else NO_VECTOR

    @QUEUE_DESC.on_write
    @QUEUE_DRIVER.on_write
    @QUEUE_DEVICE.on_write
    def _address(self, index: int, value: int) -> None:
        queue = self._selected
        if queue and not queue.enabled:
            queue.descriptors, queue.available, queue.used = (
                row[0] | row[1] << 32 for row in (self.QUEUE_DESC, self.QUEUE_DRIVER, self.QUEUE_DEVICE)
            )

    @QUEUE_ENABLE.on_write
    def _enable(self, value: int) -> None:
        queue = self._selected
        if queue and value == 1:
            queue.enabled = 1
        self.QUEUE_ENABLE = queue.enabled if queue else 0

    @QUEUE_NOTIFY.on_write
    def _notify(self, index: int, value: int) -> None:
        self.busy = True

    # The engine.

    @property
    def _works(self) -> bool:
        return (
            bool(self.DEVICE_STATUS & DeviceStatus.DRIVER_OK)
            and not self.DEVICE_STATUS & DeviceStatus.NEEDS_RESET
        )

    @property
    def receives(self) -> bool:
        """Whether there are buffers; without a driver, frames are dropped."""
        return not self._works or self.queues[RX].has_chains()

    def work(self, now: int) -> None:
        """Look for buffers to receive into, and send."""
        if not self._works:
            return
        self.queues[RX].look()
        queue = self.queues[TX]
        sent = 0
        try:
            while sent < QUANTUM and queue.look():
                self._send(queue)
                sent += 1
        except QueueError as error:
            self._broken(error)
            return
        self.busy = self.busy or sent == QUANTUM
        if sent and queue.wants_interrupt():
            self._tell(queue.vector, IsrStatus.QUEUE)

    def _send(self, queue: Queue) -> None:
        head, buffers = queue.take()
        length = sum(buffer.length for buffer in buffers)
        if any(buffer.writable for buffer in buffers) or not HEADER + 14 <= length <= HEADER + LONGEST_FRAME:
            raise QueueError(f"a chain of {length} bytes to send")
        data = b"".join(self.fetch(buffer.address, buffer.length) for buffer in buffers)
        self.note(f"tx: {length - HEADER} bytes in {len(buffers)} buffers")
        queue.give_back(head, 0)
        self.send(data[HEADER:])

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the next chain of buffers."""
        queue = self.queues[RX]
        if not self._works or not queue.has_chains():
            return
        data = bytes(10) + b"\x01\0" + padded(frame)  # num_buffers is 1
        try:
            head, buffers = queue.take()
            self._fill(buffers, data)
        except QueueError as error:
            self._broken(error)
            return
        queue.give_back(head, len(data))
        self.note(f"rx: {len(frame)} bytes in {len(buffers)} buffers")
        if not queue.has_chains():
            queue.look()
        if queue.wants_interrupt():
            self._tell(queue.vector, IsrStatus.QUEUE)

    def _fill(self, buffers: list[Buffer], data: bytes) -> None:
        """Write to the buffers of a chain. Raises QueueError when there are too few."""
        rest = data
        for buffer in buffers:
            if buffer.writable and rest:
                self.store(buffer.address, rest[: buffer.length])
                rest = rest[buffer.length :]
        if rest:
            raise QueueError(f"no room for {len(data)} bytes")

    def failed(self) -> None:
        """A queue, or a buffer, is not in memory."""
        self._broken(QueueError("an address without memory"))

    def _broken(self, error: QueueError) -> None:
        self.note(f"needs a reset: {error}")
        self.DEVICE_STATUS |= DeviceStatus.NEEDS_RESET
        self._changed()
