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

from tests.bench.measure import Plan, Result, measure
from tests.bench.peers import PEERS, NotInstalled, Peer, by_name
from tests.bench.processes import raise_descriptor_limit
from tests.bench.report import METRICS, medians, ratio, render


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    raise_descriptor_limit()
    peers, missing = _present(options.peer or [peer.name for peer in PEERS], options.root)
    report: dict[str, Any] = {"host": _host(), "missing": missing, "mtu": {}}
    for mtu in options.mtu:
        plan = Plan(
            mtu=mtu,
            seconds=options.seconds,
            flows=options.flows,
            nettool=options.nettool.resolve(),
            root=options.root,
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
    parser.add_argument("peer", nargs="*", help=f"of {', '.join(peer.name for peer in PEERS)} (all)")
    parser.add_argument("--mtu", type=_numbers, default=[1500], help="in bytes, several with commas (1500)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measured rate (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating; medians are taken (%(default)s)")
    parser.add_argument("--flows", type=int, default=10_000, help="TCP flows to hold (%(default)s)")
    parser.add_argument("--root", type=Path, help="a directory with another Debian that has peers")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--nettool", type=Path, required=True, help="path of the compiled nettool.c")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _present(names: Sequence[str], root: Path | None) -> tuple[list[Peer], dict[str, str]]:
    """The peers this host has, and a sentence for each it has not."""
    peers, missing = [], {}
    for name in names:
        peer = by_name(name)
        try:
            peer.find(root)
        except NotInstalled as error:
            missing[name] = str(error)
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
            took = time.monotonic() - begin
            print(
                f"MTU {plan.mtu}, round {number + 1}, {peer.name}: {took:.0f} s", file=sys.stderr, flush=True
            )
            for name, fault in result.faults.items():
                print(f"  {name}: {fault}", file=sys.stderr, flush=True)
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


def _host() -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    sys.exit(main())
