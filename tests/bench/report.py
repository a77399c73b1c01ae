"""Medians over the rounds, and the table with ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.measure import Result, Values

OURS, LIMIT = "wirebay", "veth"  # what begins with our name is ours too


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A row of the table: its key, heading, format, and whether more is better."""

    key: str
    title: str
    form: str = "{:.2f}"
    more_is_better: bool = True


METRICS = (
    Metric(key="tcp_out", title="TCP guest to host, Gbit/s"),
    Metric(key="tcp_in", title="TCP host to guest, Gbit/s"),
    Metric(key="tcp_out_16", title="the same, 16 connections"),
    Metric(key="tcp_in_16", title="host to guest, 16 connections"),
    Metric(key="udp_out", title="UDP guest to host, Gbit/s arrived"),
    Metric(key="udp_in", title="UDP host to guest, Gbit/s arrived"),
    Metric(key="udp_out_kept", title="UDP out, loss under 1 %, Gbit/s"),
    Metric(key="udp_in_kept", title="UDP in, loss under 1 %, Gbit/s"),
    Metric(key="rr", title="TCP request-response per s", form="{:.0f}"),
    Metric(key="urr", title="UDP request-response per s", form="{:.0f}"),
    Metric(key="crr", title="TCP connect-request-close per s", form="{:.0f}"),
    Metric(key="flows", title="flows held and answered", form="{:.0f}"),
    Metric(key="flow_kib", title="memory per held flow, KiB", more_is_better=False),
    Metric(key="idle_mib", title="idle memory, MiB", form="{:.1f}", more_is_better=False),
    Metric(key="start_ms", title="namespace, `true`, end: ms", form="{:.0f}", more_is_better=False),
    Metric(key="tcp_out_cpu", title="CPU s per GB, guest to host", more_is_better=False),
    Metric(key="tcp_in_cpu", title="CPU s per GB, host to guest", more_is_better=False),
)

MACHINE_METRICS = (
    Metric(key="vm_out", title="TCP guest to host, Gbit/s"),
    Metric(key="vm_in", title="TCP host to guest, Gbit/s"),
    Metric(key="vm_rr", title="TCP request-response per s", form="{:.0f}"),
)


def medians(rounds: Sequence[Result]) -> Values:
    """The median of each metric over the rounds that have it."""
    keys = dict.fromkeys(key for result in rounds for key in result.values)
    return {
        key: statistics.median(result.values[key] for result in rounds if key in result.values)
        for key in keys
    }


def best_peer(metric: Metric, table: Mapping[str, Values]) -> float | None:
    """The best value any peer has; the limit is none."""
    values = [
        row[metric.key]
        for name, row in table.items()
        if not name.startswith(OURS) and name != LIMIT and metric.key in row
    ]
    if not values:
        return None
    return max(values) if metric.more_is_better else min(values)


def ratio(metric: Metric, table: Mapping[str, Values]) -> float | None:
    """How many times as good as the best peer we are: above 1 is better, whichever way the metric goes."""
    best, ours = best_peer(metric, table), table.get(OURS, {}).get(metric.key)
    if best is None or ours is None:
        return None
    above, below = (ours, best) if metric.more_is_better else (best, ours)
    return above / below if below else None


def render(table: Mapping[str, Values], metrics: Sequence[Metric] = METRICS) -> str:
    """The table as text: a row per metric, a column per peer, and our ratio to the best of them."""
    names = list(table)
    lines = [_line("", [*names, "ratio"])]
    for metric in metrics:
        cells = [_cell(metric, table[name]) for name in names]
        times = ratio(metric, table)
        lines.append(_line(metric.title, [*cells, f"{times:.2f}" if times is not None else "-"]))
    return "\n".join(
        [*lines, f"ratio: {OURS} against the best other; above 1 {OURS} is better; {LIMIT} is the limit"]
    )


def _cell(metric: Metric, values: Values) -> str:
    return metric.form.format(values[metric.key]) if metric.key in values else "-"


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:34}" + "".join(f"{cell:>15}" for cell in cells)
