"""The network of one virtual lab: its ports, its segments and the worker that moves the frames.

Theory. A `Network` owns one worker (a child process) and mirrors what is in it: a `Port` for each thing
that gives and takes frames, a `Hub` or `Switch` for each segment that joins them. Python does what happens
once. It reads the options, opens devices and sockets, starts services such as DHCP, and hands descriptors
over; from then on packets pass without Python being woken.

So the mirror is only ever changed in two ways: by a call here, which first changes the worker and then the
mirror, or by an event of the worker (a peer left, a TAP was deleted). When the worker dies, the network is
down for good: `failed()` tells in one sentence, every call raises it, and leaving the context still cleans
up. Clean-up runs backwards through what was set up, tries every step, and reports what failed at the end.

    async with wirebay.Network() as net:
        user = await net.add("user", id="u0", hostfwd=["tcp:127.0.0.1:2222-:22"])
        vm = await net.add("stream", id="vm0", server=True, addr={"type": "unix", "path": "vm0.sock"})
        await net.join(user, vm)
        print(await net.failed())
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wirebay.errors import OptionError, WirebayError, WorkerError
from wirebay.objects import Objects
from wirebay.ports import Port, port_class
from wirebay.segments import Hub, Switch, refuse_if_plugged
from wirebay.worker import Worker

if TYPE_CHECKING:
    from wirebay.changes import Changes
    from wirebay.filters import Chardev, Filter
    from wirebay.layout import Layout
    from wirebay.options.chardev import ChardevOptions
    from wirebay.options.objects import FilterOptions
    from wirebay.options.types import Netdev

logger = logging.getLogger("wirebay")

# Keywords that are no options of QEMU's, because they carry objects; passed to the port as they are.
EXTRA = {"tap": ("tap", "mtu")}

# The options that QEMU itself spells with an underscore.
UNDERSCORED = frozenset({"vnet_hdr", "vnet_hdr_support"})

# Ports asked about in one `stats` command; one port takes about 200 bytes of a reply of at most 128 KiB.
STATS_PORTS = 200

Kind = TypeVar("Kind", bound=Hub)
StartWorker = Callable[[], Awaitable[Worker]]
# Gets the name of an event and its data, spelled as QMP spells them (docs/control.md).
Watcher = Callable[[str, Mapping[str, Any]], None]


class Network:
    """Ports and hubs, as an async context manager: entering starts the worker, leaving closes everything.

    `start_worker` replaces the child process by something else, `Worker.in_thread` in tests.
    Leaving raises WirebayError if some of the clean-up failed, unless another error is on its way.
    """

    def __init__(self, *, start_worker: StartWorker = Worker.start) -> None:
        self._start_worker = start_worker
        self._worker: Worker | None = None
        self._ports: dict[str, Port] = {}
        self._hubs: dict[str, Hub] = {}
        self._anonymous_hubs = 0
        self._making_hub = asyncio.Lock()
        self._failing: set[asyncio.Task[None]] = set()
        self._watchers: list[Watcher] = []
        self._layout: Layout | None = None
        self.objects = Objects(self)
        self.closing = False
        # Sockets that listen already, by the id of the stream server that takes a copy (socket activation).
        self.listeners: dict[str, socket.socket] = {}

    async def __aenter__(self) -> Self:
        self._worker = await self._start_worker()
        self._worker.on_event(self._on_event)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        errors = await self._close()
        if error is not None:
            for problem in errors:
                logger.warning("the network did not close cleanly: %s", problem)
        elif errors:
            problems = "; ".join(map(str, errors))
            raise WirebayError(f"the network did not close cleanly: {problems}") from errors[0]

    async def _close(self) -> list[Exception]:
        self.closing = True
        errors = await self.objects.close()
        try:
            while self._ports:
                _, port = self._ports.popitem()
                errors += await port.release()
        finally:
            self._hubs.clear()
            await self.worker.close()
        if self._failing:
            await asyncio.wait(self._failing)
        return errors

    @property
    def worker(self) -> Worker:
        """The packet worker. Raises RuntimeError outside of the context."""
        if self._worker is None:
            raise RuntimeError("the network is not started: use 'async with Network()'")
        return self._worker

    @property
    def ports(self) -> Mapping[str, Port]:
        """The ports by id, in the order they were added."""
        return MappingProxyType(self._ports)

    @property
    def hubs(self) -> Mapping[str, Hub]:
        """The segments by name."""
        return MappingProxyType(self._hubs)

    async def add(
        self,
        netdev: str | Netdev,
        /,
        *,
        id: str | None = None,  # noqa: A002 - the option's name in QEMU
        **options: object,
    ) -> Port:
        """Add a port.

        `netdev` is a netdev type (docs/netdevs.md) with its options as keywords, spelled
        as QEMU does with _ for -; or the options as an object, alone. Without `id` one is made up. `tap`
        also takes `tap=`, a `wirebay.tun.Tap` that the caller opened, and `mtu=`, that of its interface.

        Raises OptionError for a wrong option or an id that is taken, HostError when the host refuses
        (an address in use, a missing device), WorkerError when the worker is gone.
        """
        extra = {name: options.pop(name) for name in EXTRA.get(str(netdev), ()) if name in options}
        if isinstance(netdev, str):
            netdev = self._read_options(netdev, id, options)
        elif id is not None or options:
            raise OptionError("options given as an object leave no room for others")
        if netdev.id in self._ports:
            raise OptionError(f"Duplicate ID '{netdev.id}' for netdev")
        port = port_class(netdev)(self, netdev, **extra)
        return await self._open(port)

    async def adopt(self, port: Port) -> Port:
        """Add a port that another port has made for itself. Raises as `add` does."""
        if port.id in self._ports:
            raise OptionError(f"Duplicate ID '{port.id}' for netdev")
        return await self._open(port)

    async def add_chardev(self, text: str) -> Chardev:
        """Add a connection for filters, given as QEMU's -chardev takes it: `socket,id=c0,path=m,server=on`.

        Raises OptionError for a wrong option, HostError when the address cannot be had.
        """
        return await self.objects.add_chardev(text)

    async def add_object(
        self,
        kind: str | FilterOptions,
        /,
        *,
        id: str | None = None,  # noqa: A002 - the option's name in QEMU
        **options: object,
    ) -> Filter:
        """Add a filter to a port.

        `kind` is filter-dump, filter-mirror, filter-redirector or filter-buffer with its options as keywords,
        spelled as QEMU's -object does with _ for -; or the options as an object, alone. Raises OptionError
        for a wrong option, HostError when the host refuses (a file that cannot be opened).
        """
        if isinstance(kind, str):
            from wirebay.options.objects import object_from_dict

            kind = object_from_dict({"qom-type": kind, "id": id, **qemu_spelling(options)})
        return await self.objects.add(kind)

    async def _open(self, port: Port) -> Port:
        # Known before it is open: no second port can take the id meanwhile, and no event is lost.
        self._ports[port.id] = port
        try:
            await port.open()
            if self.closing:
                raise WorkerError("the network was closed meanwhile")
        except BaseException:
            for problem in await port.discard():
                logger.warning("port '%s' was not removed cleanly: %s", port.id, problem)
            raise
        return port

    def _read_options(self, kind: str, port_id: str | None, options: dict[str, object]) -> Netdev:
        from wirebay.options.netdev import netdev_from_dict

        name = self._free_id(kind) if port_id is None else port_id
        return netdev_from_dict({"type": kind, "id": name, **qemu_spelling(options)})

    def _free_id(self, kind: str) -> str:
        number = 0
        while f"{kind}{number}" in self._ports:
            number += 1
        return f"{kind}{number}"

    async def hub(self, name: str) -> Hub:
        """The hub called `name`; made when there is none yet. Raises OptionError when it is a switch."""
        return await self._segment(name, Hub)

    async def switch(self, name: str) -> Switch:
        """The switch called `name`; made when there is none yet. Raises OptionError when it is a hub."""
        return await self._segment(name, Switch)

    async def _segment(self, name: str, kind: type[Kind]) -> Kind:
        async with self._making_hub:
            if name not in self._hubs:
                await self.worker.call(f"{kind.kind}_add", hub=name)
                self._hubs[name] = kind(self, name)
            segment = self._hubs[name]
        if type(segment) is not kind:
            raise OptionError(f"'{name}' is a {segment.kind}, not a {kind.kind}")
        return segment

    async def join(self, *ports: Port) -> Hub:
        """Join the ports on a hub of their own. Raises OptionError when one is on a hub already."""
        for port in ports:
            refuse_if_plugged(port)
        self._anonymous_hubs += 1
        # No option can spell this name, so it never meets one that a user gave.
        hub = await self.hub(f"#{self._anonymous_hubs}")
        for port in ports:
            await hub.join(port)
        return hub

    async def move(self, port: Port, hub: Hub | str) -> Hub:
        """Take `port` from its segment, if any, to another; a name that none has makes a hub.

        Its peer and its flows stay; frames of the moment between are lost. Raises OptionError for a hubport.
        When it cannot be plugged in there it stays where it was.
        """
        target = (self._hubs.get(hub) or await self.hub(hub)) if isinstance(hub, str) else hub
        old = port.hub
        if old is target:
            return target
        if old is not None:
            await old.leave(port)
        try:
            await target.join(port)
        except WirebayError:
            if old is not None:
                await old.join(port)
            raise
        return target

    async def apply(
        self,
        netdevs: Sequence[Netdev | Mapping[str, object]],
        *,
        chardevs: Sequence[ChardevOptions | str] = (),
        objects: Sequence[FilterOptions | Mapping[str, object]] = (),
    ) -> Changes:
        """Make the network be this: ports and filters given as objects or as QEMU's JSON has them.

        What has equal options as in the call before is not touched, and of a user network whose forwards
        alone differ only those change; without hubports and switchports all ports share one hub. What was
        added in another way stays. Returns what was changed. Raises OptionError and HostError as `add` does;
        then everything is as it was.
        """
        from wirebay.layout import Layout
        from wirebay.wiring import Description

        self._layout = self._layout or Layout(self)
        return await self._layout.apply(
            Description(
                netdevs=tuple(map(read_netdev, netdevs)),
                chardevs=tuple(map(read_chardev, chardevs)),
                objects=tuple(map(read_object, objects)),
            )
        )

    async def stats(self) -> dict[str, Any]:
        """The counters: `{"ports": {ID: {"kind", "hub", "rx_frames", ...}}}` (docs/protocol.md).

        To the worker's drops those of the services are added, as dhcp_malformed for the user network.
        """
        worker, names = self.worker, list(self._ports)
        ports: dict[str, Any] = {}
        # In portions: one reply of the worker has a limit.
        for start in range(0, max(1, len(names)), STATS_PORTS):
            reply = await worker.call("stats", ports=names[start : start + STATS_PORTS])
            ports |= reply.get("ports", {})
        for name, counters in ports.items():
            if port := self._ports.get(name):  # else it was closed meanwhile
                if "kind" in counters:
                    counters["kind"] = port.kind  # several kinds are one to the worker
                counters["drops"] = {**counters.get("drops", {}), **port.service_drops()}
        return {"ports": ports}

    async def failed(self) -> str:
        """Wait until something ends the whole network, the death of the worker; returns the sentence."""
        return await asyncio.shield(self.worker.died)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher`, which must not raise, with every event from now on; what is returned ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def tell(self, event: str, data: Mapping[str, Any]) -> None:
        """Tell the watchers of an event; for the ports."""
        for watcher in tuple(self._watchers):
            watcher(event, data)

    def forget(self, port: Port) -> None:
        """Take `port` out of the mirror; `Port.close()` calls it."""
        if self._ports.get(port.id) is port:
            del self._ports[port.id]
        port.hub = None

    def forget_hub(self, hub: Hub) -> None:
        """Take `hub` out of the mirror; `Hub.close()` calls it."""
        self._hubs.pop(hub.name, None)
        for port in hub.ports:
            port.hub = None

    def _on_alarm(self, event: Mapping[str, Any]) -> None:
        port, hub = event.get("port"), event.get("hub")
        data = {"netdev-id": port, "hub": hub}
        if event["event"] == "storm_limited":
            logger.warning("port '%s' floods: it sends more to everybody than its switch takes", port)
            self.tell("WIREBAY_STORM_LIMITED", data)
            return
        seconds = event.get("seconds")
        logger.warning(
            "port '%s' is part of a loop: frames come back through it; it is blocked for %s s", port, seconds
        )
        self.tell("WIREBAY_LOOP_BLOCKED", {**data, "seconds": seconds})

    def _on_event(self, event: dict[str, Any]) -> None:
        if "filter" in event:
            self.objects.on_event(event)
            return
        port = self._ports.get(str(event.get("port")))
        if port is None:
            return
        if event["event"] in ("loop_blocked", "storm_limited"):
            self._on_alarm(event)
            return
        if event["event"] != "port_failed":
            port.on_event(event)
            return
        task = asyncio.get_running_loop().create_task(port.fail(str(event.get("reason"))))
        self._failing.add(task)
        task.add_done_callback(self._failing.discard)


def read_netdev(netdev: Netdev | Mapping[str, object]) -> Netdev:
    """The options of a port, whichever way they were given. Raises OptionError."""
    if not isinstance(netdev, Mapping):
        return netdev
    from wirebay.options.netdev import netdev_from_dict

    return netdev_from_dict(netdev)


def read_chardev(chardev: ChardevOptions | str) -> ChardevOptions:
    """The same of a connection for filters."""
    if not isinstance(chardev, str):
        return chardev
    from wirebay.options.chardev import parse_chardev

    return parse_chardev(chardev)


def read_object(options: FilterOptions | Mapping[str, object]) -> FilterOptions:
    """The same of a filter."""
    if not isinstance(options, Mapping):
        return options
    from wirebay.options.objects import object_from_dict

    return object_from_dict(options)


def qemu_spelling(options: Mapping[str, object]) -> dict[str, object]:
    """Keyword names as QEMU spells them, `host_loopback` as `host-loopback`, in nested options too."""
    return {
        name if name in UNDERSCORED else name.replace("_", "-"): (
            qemu_spelling(value) if isinstance(value, Mapping) else value
        )
        for name, value in options.items()
    }
