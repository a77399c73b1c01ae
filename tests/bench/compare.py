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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.measure import GROUPS, Plan, Result, measure
from tests.bench.peers import PEERS, NotInstalled, Peer, by_name
from tests.bench.processes import raise_descriptor_limit
from tests.bench.report import METRICS, medians, ratio, render

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
        rounds = _rounds(peers, plan, options.rounds)
        report["mtu"][str(mtu)] = _print(mtu, rounds)
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
    parser.add_argument("--seconds", type=float, default=3.0, help="per measured rate (%(default)s)")
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


def _rounds(peers: Sequence[Peer], plan: Plan, count: int) -> dict[str, list[Result]]:
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


def _print(mtu: int, rounds: dict[str, list[Result]]) -> dict[str, Any]:
    table = {name: medians(results) for name, results in rounds.items()}
    print(f"\nMTU {mtu}, medians of {max(map(len, rounds.values()), default=0)} rounds\n{render(table)}\n")
    return {
        "medians": table,
        "ratios": {metric.key: ratio(metric, table) for metric in METRICS},
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
