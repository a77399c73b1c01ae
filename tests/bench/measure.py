"""One measurement: a guest connected by a peer, and every metric taken from inside it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.guest import Namespace
from tests.bench.peers import Peer, Running, Setting, folder
from tests.bench.processes import cpu_seconds, resident_kib, stop, tree, wait_until
from tests.bench.search import highest_rate
from tests.guests.host import free_port

UDP_PAYLOAD = 1400
IDLE_SECONDS = 0.5
GRACE_SECONDS = 20.0
HOLD_SECONDS = 120.0  # more than nettool takes for it
START_ROUNDS = 5
BUSY_SECONDS = 10.0
LEAST_CPU_SECONDS = 0.1  # the kernel counts in hundredths
# What is taken, in this order; a group may give several metrics.
GROUPS = (
    "idle", "tcp_out", "tcp_in", "tcp_out_16", "tcp_in_16", "udp_out", "udp_in",
    "udp_out_kept", "udp_in_kept", "rr", "crr", "urr", "flows", "start", "vm",
)  # fmt: skip
STREAMS = 16
# The search for the rate that loses next to nothing, in bit/s; and the time of one try, in seconds.
LOW_RATE, HIGH_RATE, TRIES, TRY_SECONDS = 50e6, 8e9, 6, 1
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run measures: MTU in bytes, the time for each rate, and how many flows to hold."""

    mtu: int
    seconds: float
    flows: int
    nettool: Path
    root: Path | None
    only: frozenset[str] = frozenset()

    def wants(self, name: str) -> bool:
        """Whether this group of metrics is to be taken."""
        return not self.only or name in self.only


@dataclass(kw_only=True)
class Result:
    """Metrics by name, and one sentence for each that could not be taken."""

    values: Values = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def measure(peer: Peer, plan: Plan) -> Result:
    """Connect a new guest by `peer` and take every metric; what fails is a fault of the result."""
    result = Result()
    with Namespace() as guest, folder() as name:
        setting = Setting(guest=guest, mtu=plan.mtu, nettool=plan.nettool, folder=Path(name), root=plan.root)
        try:
            with peer.connect(setting) as running:
                _take_all(guest, running, plan, result)
        except (OSError, subprocess.SubprocessError) as error:
            result.faults["guest"] = f"{error}; {_last_line(Path(name, 'peer.log'))}"
    if plan.wants("start"):
        _guard(result, "start", lambda: _start_up(peer, plan))
    return result


def _take_all(guest: Namespace, running: Running, plan: Plan, result: Result) -> None:
    with _servers(running, plan) as (iperf, echo):
        probe = Probe(guest, running, plan, iperf, echo)
        probe.wait_until_connected()
        takes: dict[str, Callable[[], Values]] = {
            "idle": probe.idle,
            "tcp_out": lambda: probe.stream("tcp_out"),
            "tcp_in": lambda: probe.stream("tcp_in", "--reverse"),
            "tcp_out_16": lambda: probe.stream("tcp_out_16", "--parallel", str(STREAMS)),
            "tcp_in_16": lambda: probe.stream("tcp_in_16", "--parallel", str(STREAMS), "--reverse"),
            "udp_out": lambda: probe.datagrams("udp_out"),
            "udp_in": lambda: probe.datagrams("udp_in", "--reverse"),
            "udp_out_kept": lambda: probe.kept("udp_out_kept"),
            "udp_in_kept": lambda: probe.kept("udp_in_kept", "--reverse"),
            "rr": lambda: probe.rate("rr"),
            "crr": lambda: probe.rate("crr"),
            "urr": lambda: probe.rate("urr"),
            "flows": probe.flows,
        }
        for name, take in takes.items():
            if plan.wants(name):
                _guard(result, name, take)


def _guard(result: Result, name: str, take: Callable[[], Values]) -> None:
    try:
        result.values.update(take())
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        result.faults[name] = f"{type(error).__name__}: {error}"


class Probe:
    """Takes metrics from inside a connected guest."""

    def __init__(self, guest: Namespace, running: Running, plan: Plan, iperf: int, echo: int) -> None:
        self.guest = guest
        self.running = running
        self.plan = plan
        self.iperf = iperf
        self.echo = echo

    def wait_until_connected(self) -> None:
        """Until the echo server answers the guest; raises TimeoutError."""

        def answered() -> bool:
            try:
                return bool(self._nettool("rr", 0.01)["per_second"])
            except subprocess.SubprocessError:
                return False

        wait_until(answered, "the first answer through the back end")

    def idle(self) -> Values:
        """Memory of the back end's processes before any load, in MiB."""
        time.sleep(IDLE_SECONDS)
        return {"idle_mib": resident_kib(self._workers()) / 1024} if self._workers() else {}

    def stream(self, name: str, *words: str) -> Values:
        """TCP by iperf3: goodput in Gbit/s, and the back end's CPU time in seconds per 10^9 bytes."""
        workers, before = self._workers(), cpu_seconds(self._workers())
        received = self._iperf(words, self.plan.seconds)["sum_received"]
        used = cpu_seconds(workers) - before
        values = {name: received["bits_per_second"] / 1e9}
        if workers and used >= LEAST_CPU_SECONDS and received["bytes"]:
            values[f"{name}_cpu"] = used / (received["bytes"] / 1e9)
        return values

    def datagrams(self, name: str, *words: str) -> Values:
        """UDP by iperf3, as fast as the sender can: what arrived, in Gbit/s."""
        return {name: self._arrived(0, words, self.plan.seconds)[0]}

    def kept(self, name: str, *words: str) -> Values:
        """UDP by iperf3 at the highest rate that loses less than 1 %: what arrived, in Gbit/s."""
        return {
            name: highest_rate(
                lambda rate: self._arrived(rate, words, TRY_SECONDS), LOW_RATE, HIGH_RATE, TRIES
            )
        }

    def _arrived(self, rate: float, words: Sequence[str], seconds: float) -> tuple[float, float]:
        """Gbit/s that arrived, and the percentage lost."""
        udp = ("--udp", "--bitrate", f"{rate:.0f}", "--length", str(UDP_PAYLOAD))
        end = self._iperf((*udp, *words), seconds)
        lost = end["sum"]["lost_percent"]
        if "sum_received" in end:
            return end["sum_received"]["bits_per_second"] / 1e9, lost
        # An older iperf3 gives one sum, of what was sent.
        return end["sum"]["bits_per_second"] * (1 - lost / 100) / 1e9, lost

    def rate(self, mode: str) -> Values:
        """Transactions per second of one connection's worth of nettool, and their 99th percentile in us."""
        got = self._nettool(mode, self.plan.seconds)
        return {mode: got["per_second"], f"{mode}_p99_us": got["p99_us"]}

    def flows(self) -> Values:
        """Connections held at once: how many answered, and what each costs the back end in KiB."""
        before = resident_kib(self._workers())
        process = self.guest.start(self._nettool_words("hold", self.plan.flows))
        try:
            got = json.loads(first_line(process, HOLD_SECONDS))
            grown = resident_kib(self._workers()) - before
        finally:
            stop(process)
        values: Values = {"flows": got["answered"]}
        if self._workers() and got["answered"]:
            values["flow_kib"] = max(0.0, grown / got["answered"])
        return values

    def _workers(self) -> list[int]:
        return tree(self.running.pid) if self.running.pid else []

    def _iperf(self, words: Sequence[str], seconds: float) -> dict[str, Any]:
        base = ("iperf3", "--client", self.running.host, "--port", str(self.iperf), "--json")
        command = [*base, "--time", f"{seconds:.0f}", *words]
        report: dict[str, Any] = {"error": "the server is busy"}
        end = time.monotonic() + BUSY_SECONDS
        # The server may still wait for the end of a test whose last words were lost.
        while "busy" in report.get("error", "") and time.monotonic() < end:
            report = json.loads(self.guest.run(*command, timeout=seconds + GRACE_SECONDS))
        if "error" in report:
            raise ValueError(f"iperf3: {report['error']}")
        result: dict[str, Any] = report["end"]
        return result

    def _nettool(self, mode: str, amount: float) -> dict[str, float]:
        text = self.guest.run(*self._nettool_words(mode, amount), timeout=amount + GRACE_SECONDS)
        values: dict[str, float] = json.loads(text)
        return values

    def _nettool_words(self, mode: str, amount: float) -> list[str]:
        return [str(self.plan.nettool), mode, self.running.host, str(self.echo), str(amount)]


@contextmanager
def _servers(running: Running, plan: Plan) -> Iterator[tuple[int, int]]:
    """iperf3 and the echo server where the guest's peer is; yields their ports."""
    enter = running.side.enter() if running.side else ()
    port = free_port()
    with ExitStack() as stack:
        iperf = ["iperf3", "--server", "--bind", running.bind, "--port", str(port), "--forceflush"]
        quiet = subprocess.DEVNULL  # it complains about being ended
        started = subprocess.Popen([*enter, *iperf], stdout=subprocess.PIPE, stderr=quiet, text=True)
        stack.callback(stop, started)
        echo = subprocess.Popen(
            [*enter, str(plan.nettool), "serve", running.bind], stdout=subprocess.PIPE, text=True
        )
        stack.callback(stop, echo)
        first_line(started, GRACE_SECONDS)
        yield port, int(json.loads(first_line(echo, GRACE_SECONDS))["port"])


def first_line(process: subprocess.Popen[str], seconds: float) -> str:
    """The first line a process prints; raises TimeoutError, or OSError when it ends without one."""
    import select

    assert process.stdout is not None
    if not select.select([process.stdout], [], [], seconds)[0]:
        raise TimeoutError(f"{process.args!r} printed nothing within {seconds:.0f} s")
    if not (line := process.stdout.readline()):
        raise OSError(f"{process.args!r} ended without a word")
    return line


def _start_up(peer: Peer, plan: Plan) -> Values:
    """Median time of a namespace that is made, runs `true` and ends, in milliseconds."""
    command = peer.starter(plan.root)
    if command is None:
        return {}
    times = []
    for _ in range(START_ROUNDS):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=GRACE_SECONDS)
        times.append(time.perf_counter() - begin)
    return {"start_ms": sorted(times)[START_ROUNDS // 2] * 1000}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
