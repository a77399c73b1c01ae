"""`make bench`: user-mode back ends side by side on one machine, in one run.

The guest is a network namespace with the kernel's own TCP/IP stack and a TAP, the same for every peer.
Rounds alternate the peers, so that a machine whose speed drifts treats them alike; the table has medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.bench.machine import MACHINE_PEERS, check_qemu, measure_machine
from tests.bench.measure import GROUPS, Plan, Result, measure
from tests.bench.peers import PEERS, NotInstalled, Peer, by_name
from tests.bench.processes import raise_descriptor_limit
from tests.bench.report import MACHINE_METRICS, METRICS, Metric, medians, ratio, render

BUSY = 0.5  # load average
SPARE = 100  # descriptors a back end needs beside those of flows, roughly


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    descriptors = raise_descriptor_limit()
    peers, missing = _present(options.peer or PEERS, options.root)
    report: dict[str, Any] = {"host": _host(descriptors), "missing": missing, "mtu": {}}
    for sentence in missing.values():
        _note(f"missing: {sentence}")
    if descriptors < 2 * options.flows + SPARE:
        _note(f"a process may have {descriptors} descriptors here, and pasta needs two for each flow held")
    if os.getloadavg()[0] > BUSY:
        _note("this machine is busy with something else: the figures will not be worth much")
    for mtu in options.mtu:
        plan = Plan(
            mtu=mtu,
            seconds=options.seconds,
            flows=options.flows,
            nettool=options.nettool.resolve(),
            root=options.root,
            only=frozenset(options.only),
        )
        if plan.only != {"vm"}:
            rounds = _rounds(peers, plan, options.rounds, measure)
            report["mtu"][str(mtu)] = _print(f"MTU {mtu}", rounds, METRICS)
        if mtu == options.mtu[0] and plan.wants("vm"):
            report["machines"] = _machines(plan, options.rounds, missing)
    for sentence in missing.values():
        print(f"missing: {sentence}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n", 1)[0])
    names = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("peer", nargs="*", type=_peer, help=f"of {names} (all)")
    parser.add_argument("--mtu", type=_numbers, default=[1500], help="in bytes, several with commas (1500)")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measured rate (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating; medians are taken (%(default)s)")
    parser.add_argument("--flows", type=int, default=10_000, help="TCP flows to hold (%(default)s)")
    parser.add_argument("--only", type=_groups, default=[], help=f"of {','.join(GROUPS)} (all)")
    parser.add_argument("--root", type=Path, help="a directory with another Debian that has peers")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--nettool", type=Path, required=True, help="path of the compiled nettool.c")
    return parser


def _peer(name: str) -> Peer:
    try:
        return by_name(name)
    except ValueError:
        raise argparse.ArgumentTypeError(f"there is no peer '{name}'") from None


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _groups(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(GROUPS):
        raise argparse.ArgumentTypeError(f"there is no metric {', '.join(sorted(unknown))}")
    return names


def _present(wanted: Sequence[Peer], root: Path | None) -> tuple[list[Peer], dict[str, str]]:
    """The peers this host has, and a sentence for each it has not."""
    peers, missing = [], {}
    for peer in wanted:
        try:
            peer.find(root)
        except NotInstalled as error:
            missing[peer.name] = str(error)
        else:
            peers.append(peer)
    return peers, missing


def _machines(plan: Plan, count: int, missing: dict[str, str]) -> dict[str, Any]:
    """Virtual machines, at the first MTU only: more rounds would take long, and say the same."""
    peers = []
    try:
        check_qemu(plan.root)
    except NotInstalled as error:
        missing["machines"] = str(error)
        return {}
    for peer in MACHINE_PEERS:
        try:
            peer.find(plan.root)
        except NotInstalled as error:
            missing[peer.name] = str(error)
        else:
            peers.append(peer)
    rounds = _rounds(peers, plan, count, measure_machine)
    return _print(f"QEMU guest under software emulation, MTU {plan.mtu}", rounds, MACHINE_METRICS)


class _Named(Protocol):
    name: str


P = TypeVar("P", bound=_Named)


def _rounds(
    peers: Sequence[P], plan: Plan, count: int, measure: Callable[[P, Plan], Result]
) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {peer.name: [] for peer in peers}
    for number in range(count):
        for peer in peers:
            begin = time.monotonic()
            result = measure(peer, plan)
            results[peer.name].append(result)
            _note(f"MTU {plan.mtu}, round {number + 1}, {peer.name}: {time.monotonic() - begin:.0f} s")
            for name, fault in result.faults.items():
                _note(f"  {name}: {fault}")
    return results


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(what: str, rounds: dict[str, list[Result]], metrics: Sequence[Metric]) -> dict[str, Any]:
    table = {name: medians(results) for name, results in rounds.items()}
    count = max(map(len, rounds.values()), default=0)
    print(f"\n{what}, medians of {count} rounds\n{render(table, metrics)}\n")
    return {
        "medians": table,
        "ratios": {metric.key: ratio(metric, table) for metric in metrics},
        "rounds": {name: [vars(result) for result in results] for name, results in rounds.items()},
    }


def _host(descriptors: int) -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "descriptors": descriptors,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    sys.exit(main())
