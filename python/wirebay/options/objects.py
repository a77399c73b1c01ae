"""`-object`: filters on a port, with QEMU's words and error sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from wirebay.errors import OptionError
from wirebay.options.grammar import parse_json, parse_pairs
from wirebay.options.reader import ObjectReader, OldReader, Reader, not_served, parse_number
from wirebay.options.sizes import parse_size

Queue = Literal["all", "rx", "tx"]

# Filters of QEMU 11.1 that Wirebay has not.
NOT_SERVED = frozenset(("filter-rewriter", "filter-replay", "colo-compare"))
MAX_MAXLEN = (1 << 32) - 1
MAX_INTERVAL = (1 << 32) - 1
MIN_SIZE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterOptions:
    """What all filters have.

    `netdev` is the port, `queue` which frames it sees: rx those sent to the port, tx those from it.
    `position` is head, tail or the id of another filter, `behind` whether to come behind that one. `status`
    is whether it is on.
    """

    id: str
    netdev: str
    queue: Queue = "all"
    position: str = "tail"
    behind: bool = True
    status: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpOptions(FilterOptions):
    """`filter-dump`. Ours: `format` pcapng; `max_size` of one file in bytes, and how many `files` to keep."""

    file: str
    maxlen: int = 65536
    format: Literal["pcap", "pcapng"] = "pcap"
    max_size: int | None = None
    files: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorOptions(FilterOptions):
    """`filter-mirror`: copies to the chardev `outdev`."""

    outdev: str
    vnet_hdr_support: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RedirectorOptions(FilterOptions):
    """`filter-redirector`: diverts to `outdev`, brings in from `indev`."""

    indev: str | None = None
    outdev: str | None = None
    vnet_hdr_support: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferOptions(FilterOptions):
    """`filter-buffer`: holds frames until the next tick of `interval` microseconds."""

    interval: int


def parse_object(text: str) -> FilterOptions:
    """Read the argument of `-object`, `TYPE,id=...` or JSON with `qom-type`. Raises OptionError."""
    if text.startswith("{"):
        return object_from_dict(parse_json(text))
    # The grammar knows the implied key by the name it has in -netdev.
    pairs = [("qom-type" if name == "type" else name, value) for name, value in parse_pairs(text)]
    return _read(OldReader(pairs))


def read_object(reader: Reader) -> FilterOptions:
    """Read options from a reader of the caller's. Raises OptionError."""
    return _read(reader)


def object_readers() -> Mapping[str, Callable[[Reader, FilterOptions], FilterOptions]]:
    """The function that reads the options of each type, behind those that all have, by the type's name."""
    return MappingProxyType(_READERS)


def object_from_dict(values: Mapping[str, object]) -> FilterOptions:
    """Read options as JSON has them. Raises OptionError."""
    return _read(ObjectReader(values))


def _read(reader: Reader) -> FilterOptions:
    kind = reader.required("qom-type")
    if kind in NOT_SERVED:
        raise not_served(f"object type '{kind}'")
    if kind not in _READERS:
        raise OptionError(f"Parameter 'qom-type' does not accept value '{kind}'")
    ident = reader.identifier()
    common = FilterOptions(
        id=ident,
        netdev=reader.required("netdev"),
        queue=_queue(reader),
        position=_position(reader),
        behind=_insert(reader) == "behind",
        status=_status(reader),
    )
    options = _READERS[kind](reader, common)
    reader.finish()
    return options


def _queue(reader: Reader) -> Queue:
    queue = reader.string("queue") or "all"
    for known in get_args(Queue):
        if queue == known:
            return queue  # type: ignore[return-value] # it is one of them
    raise OptionError(f"Parameter 'queue' does not accept value '{queue}'")


def _position(reader: Reader) -> str:
    position = reader.string("position") or "tail"
    if position in ("head", "tail"):
        return position
    if not position.startswith("id="):
        raise OptionError("Parameter 'position' expects 'head', 'tail' or 'id=<id>'")
    return position.removeprefix("id=")


def _insert(reader: Reader) -> str:
    insert = reader.string("insert") or "behind"
    if insert not in ("before", "behind"):
        raise OptionError(f"Parameter 'insert' does not accept value '{insert}'")
    return insert


def _status(reader: Reader) -> bool:
    status = reader.string("status") or "on"
    if status not in ("on", "off"):
        raise OptionError("Invalid value for netfilter status, should be 'on' or 'off'")
    return status == "on"


def _fields(common: FilterOptions) -> dict[str, object]:
    return {name: getattr(common, name) for name in FilterOptions.__slots__}


def _dump(reader: Reader, common: FilterOptions) -> DumpOptions:
    file, form = reader.required("file"), reader.string("format") or "pcap"
    maxlen, size, files = _number(reader, "maxlen"), reader.string("max-size"), _number(reader, "files")
    if maxlen is not None and not 0 < maxlen <= MAX_MAXLEN:
        raise OptionError(f"Property 'filter-dump.maxlen' doesn't take value '{maxlen}'")
    if form not in ("pcap", "pcapng"):
        raise OptionError(f"Parameter 'format' does not accept value '{form}'")
    if files is not None and (files == 0 or size is None):
        raise OptionError("Parameter 'files' expects a number from 1, beside max-size=")
    return DumpOptions(
        **_fields(common),  # type: ignore[arg-type]
        file=file,
        maxlen=65536 if maxlen is None else maxlen,
        format="pcapng" if form == "pcapng" else "pcap",
        max_size=None if size is None else _max_size(size),
        files=files or 2,
    )


def _number(reader: Reader, name: str) -> int | None:
    """A whole number that is not negative."""
    text = reader.string(name)
    number = None if text is None else parse_number(text)
    if text is not None and (number is None or number < 0):
        raise OptionError(f"Parameter '{name}' expects a uint64 value")
    return number


def _max_size(text: str) -> int:
    size = parse_size(text)
    if size is None:
        raise OptionError("Parameter 'max-size' expects a size value")
    if size < MIN_SIZE:
        raise OptionError(f"Parameter 'max-size' expects at least {MIN_SIZE} bytes")
    return size


def _mirror(reader: Reader, common: FilterOptions) -> MirrorOptions:
    outdev, vnet = reader.required("outdev"), reader.boolean("vnet_hdr_support")
    return MirrorOptions(
        **_fields(common),  # type: ignore[arg-type]
        outdev=outdev,
        vnet_hdr_support=vnet or False,
    )


def _redirector(reader: Reader, common: FilterOptions) -> RedirectorOptions:
    indev, outdev = reader.string("indev") or None, reader.string("outdev") or None
    vnet = reader.boolean("vnet_hdr_support")
    if indev is None and outdev is None:
        raise OptionError("filter redirector needs 'indev' or 'outdev' at least one property set")
    if indev == outdev:
        raise OptionError("'indev' and 'outdev' could not be same for filter redirector")
    return RedirectorOptions(
        **_fields(common),  # type: ignore[arg-type]
        indev=indev,
        outdev=outdev,
        vnet_hdr_support=vnet or False,
    )


def _buffer(reader: Reader, common: FilterOptions) -> BufferOptions:
    interval = _number(reader, "interval")
    if interval is None:
        raise reader.missing("interval")
    if not 0 < interval <= MAX_INTERVAL:
        raise OptionError("Property 'filter-buffer.interval' requires a positive value")
    return BufferOptions(
        **_fields(common),  # type: ignore[arg-type]
        interval=interval,
    )


_READERS: dict[str, Callable[[Reader, FilterOptions], FilterOptions]] = {
    "filter-buffer": _buffer,
    "filter-dump": _dump,
    "filter-mirror": _mirror,
    "filter-redirector": _redirector,
}
