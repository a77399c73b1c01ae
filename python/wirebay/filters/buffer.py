"""filter-buffer: frames held back until the next tick of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirebay.filters.base import Filter

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.objects import BufferOptions
    from wirebay.ports import Port


class BufferFilter(Filter):
    """Holds frames back, at most 16 MiB of them."""

    kind = "filter-buffer"

    def __init__(self, network: Network, options: BufferOptions, port: Port) -> None:
        super().__init__(network, options, port)
        self.options = options

    async def open(self, place: int) -> None:
        """Begin to hold frames back."""
        await self._add_to_worker(place, {"buffer": {"interval": self.options.interval}})
