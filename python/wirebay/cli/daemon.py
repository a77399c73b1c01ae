"""What `wirebay serve` runs: a network by its description, until it is told to stop.

Theory. A `Source` is where the description comes from, the command line and the file, which is read again
when asked (SIGHUP, `wirebay ctl reload`). The `Daemon` has the network make of itself what the description
says (`Network.apply`), at the start and at every reload. A reload with a mistake, or with something that the
host refuses, leaves everything as it was; whoever asked is told why, and so is the log. What cannot change
while it runs, where the sockets of control are and the pid file, must be as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wirebay.cli.control import Doors, Running, check_api, check_control
from wirebay.cli.logs import start_log
from wirebay.cli.loop import until_stopped
from wirebay.cli.notify import Notifier
from wirebay.cli.pidfile import pid_file
from wirebay.cli.ready import report_ready
from wirebay.config.file import Config, ConfigError, Settings, read_config
from wirebay.errors import WirebayError
from wirebay.options.types import StreamOptions, VhostUserOptions
from wirebay.segments import PLACES
from wirebay.wiring import Description, Named, contradictions, has_places, ordered

if TYPE_CHECKING:
    from wirebay.changes import Changes
    from wirebay.network import Network

__all__ = ["Daemon", "Source"]

#: Names of sockets that are not of ports (`FileDescriptorName=`).
CONTROL, API = "control", "api-socket"
#: What must be the same as at the start.
FIXED = ("control", "api_socket", "pid_file")

logger = logging.getLogger("wirebay")


class Source:
    """The command line and the file. `config` is what they say together; the command line wins.

    Raises OptionError, with all mistakes of the file at once.
    """

    def __init__(self, arguments: argparse.Namespace, whole: Description | None = None) -> None:
        self.path: str | None = arguments.config
        self._arguments = arguments
        self._own = whole or Description()
        self.config = self._read()

    def read_again(self) -> Config:
        """The same anew, not yet kept. Raises OptionError also for what cannot change while it runs."""
        config = self._read()
        fixed = [
            f"{config.places.get((word, ''), self.path)}: '{word}' cannot change while wirebay runs"
            for name, word in ((name, name.replace("_", "-")) for name in FIXED)
            if getattr(config.settings, name) != getattr(self.config.settings, name)
        ]
        if fixed:
            raise ConfigError(str(self.path), fixed)
        return config

    def names(self) -> set[str]:
        """What sockets that a service manager opened may be for."""
        servers = [
            netdev.id
            for netdev in self.config.whole.netdevs
            if isinstance(netdev, StreamOptions | VhostUserOptions) and netdev.server
        ]
        return {CONTROL, API, *servers}

    def _read(self) -> Config:
        file = read_config(self.path) if self.path is not None else Config()
        given = {
            name: value
            for name in ("control", "api_socket", "pid_file", "log_level")
            if (value := getattr(self._arguments, name)) is not None
        }
        whole = joined(self._own, file.whole)
        config = replace(file, settings=replace(file.settings, **given), whole=whole)
        check_control(config.settings.control)
        check_api(config.settings.api_socket)
        mistakes = [f"{self._place(config, one)}: {sentence}" for one, sentence in contradictions(whole)]
        if mistakes:
            raise ConfigError(str(self.path), mistakes)
        return config

    def _place(self, config: Config, options: Named) -> str:
        """Where the file has it; a clash with the command line has no other place than the file."""
        found = (place for (word, name), place in config.places.items() if word and name == options.id)
        return next(found, str(self.path))


def joined(one: Description, other: Description) -> Description:
    """Both together."""
    return Description(
        netdevs=(*one.netdevs, *other.netdevs),
        chardevs=(*one.chardevs, *other.chardevs),
        objects=(*one.objects, *other.objects),
    )


class Daemon(Running):
    """One run. `listeners` are sockets that a service manager opened, by name."""

    def __init__(self, source: Source, listeners: Mapping[str, socket.socket]) -> None:
        self._source = source
        self._listeners = dict(listeners)
        self._notifier = Notifier()
        self._last: asyncio.Task[Changes] | None = None
        self._next: asyncio.Task[Changes] | None = None  # has not begun
        self._network: Network | None = None

    async def serve(self, ready_fd: int | None) -> int:
        """Run until a signal says stop; returns the exit status. Raises WirebayError."""
        from wirebay.network import Network

        settings = self._source.config.settings
        with pid_file(settings.pid_file):
            async with Network() as network:
                self._network = network
                network.listeners.update(self._listeners)
                await apply(network, self._source.config)
                self._tell_ports(network)
                async with self._doors(settings).open(network, self):
                    report_ready(ready_fd)
                    self._notifier.ready(self._status())
                    await until_stopped(network, ends=ended(network), on_hangup=self._on_hangup())
                    await self._stop()
        return 0

    def _doors(self, settings: Settings) -> Doors:
        return Doors(
            self._listeners.get(CONTROL) or settings.control, self._listeners.get(API) or settings.api_socket
        )

    def _tell_ports(self, network: Network) -> None:
        """Every port for people, and those that nothing can reach."""
        if not logger.isEnabledFor(logging.INFO):
            return
        for port in network.ports.values():
            print(port.describe(), file=sys.stderr, flush=True)
        if has_places(self._source.config.whole.netdevs):
            for port in network.ports.values():
                if port.kind not in PLACES and port.hub is None:
                    print(f"warning: netdev {port.id} has no peer", file=sys.stderr)

    def _status(self) -> str:
        assert self._network
        return f"serving {len(self._network.ports)} ports"

    def _on_hangup(self) -> Callable[[], None] | None:
        """What SIGHUP does: without a file it ends the process, as it always did."""
        return None if self._source.path is None else self._reload_unasked

    def _reload_unasked(self) -> None:
        self._next_reload().add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # it is logged

    async def reload(self) -> dict[str, Any]:
        """Read the file again; returns what was changed. Raises WirebayError, and all is as it was then."""
        if self._source.path is None:
            return await super().reload()
        return (await asyncio.shield(self._next_reload())).ids()

    def _next_reload(self) -> asyncio.Task[Changes]:
        """The reload that is to begin: one after the other, and many who ask meanwhile share the next."""
        if self._next is None:
            self._next = self._last = asyncio.get_running_loop().create_task(self._reload_after(self._last))
        return self._next

    async def _reload_after(self, before: asyncio.Task[Changes] | None) -> Changes:
        if before is not None:
            await asyncio.wait((before,))
        self._next = None
        self._notifier.reloading()
        status = "the file was not loaded again; the log says why"
        try:
            changes = await self._reload()
            status = self._status()
            return changes
        except WirebayError as error:
            for line in str(error).splitlines():
                logger.error("not loaded again, everything is as it was: %s", line)
            raise
        except Exception:
            logger.exception("not loaded again")
            raise
        finally:
            self._notifier.ready(status)

    async def _reload(self) -> Changes:
        assert self._network
        config = self._source.read_again()
        changes = await apply(self._network, config)
        self._source.config = config
        start_log(config.settings.log_level)
        logger.info("loaded %s again: %s", self._source.path, changes)
        self._network.tell("WIREBAY_RELOADED", changes.ids())
        return changes

    async def _stop(self) -> None:
        self._notifier.stopping()
        if self._last is not None:
            await asyncio.wait((self._last,))


def ended(network: Network) -> list[asyncio.Future[str]]:
    """What also ends the command: whoever holds the other side of a `stdio` port has gone."""
    from wirebay.ports.framed import StdioPort

    return [port.ended for port in network.ports.values() if isinstance(port, StdioPort)]


async def apply(network: Network, config: Config) -> Changes:
    """Make the network be what the description says."""
    whole = config.whole
    return await network.apply(ordered(whole.netdevs), chardevs=whole.chardevs, objects=whole.objects)
