"""The benchmark's table: medians, which way a metric goes, and whom the ratio is against."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.compare import main
from tests.bench.measure import Result
from tests.bench.peers import NotInstalled, by_name
from tests.bench.report import METRICS, Metric, medians, ratio, render
from tests.bench.search import highest_rate

SPEED = Metric(key="speed", title="speed")
COST = Metric(key="cost", title="cost", more_is_better=False)


def test_a_median_is_taken_of_the_rounds_that_have_the_metric() -> None:
    rounds = [Result(values={"a": 1.0}), Result(values={"a": 9.0, "b": 4.0}), Result(values={"a": 2.0})]
    assert medians(rounds) == {"a": 2.0, "b": 4.0}


def test_the_ratio_is_against_the_best_peer_and_never_against_the_limit() -> None:
    table = {
        "wirebay": {"speed": 6.0},
        "pasta": {"speed": 2.0},
        "gvproxy": {"speed": 3.0},
        "veth": {"speed": 99.0},
    }
    assert ratio(SPEED, table) == 2.0


def test_above_one_is_better_also_where_less_is_better() -> None:
    table = {"wirebay": {"cost": 2.0}, "pasta": {"cost": 8.0}, "gvproxy": {"cost": 4.0}}
    assert ratio(COST, table) == 2.0


@pytest.mark.parametrize("table", [{"wirebay": {"speed": 1.0}}, {"pasta": {"speed": 1.0}}, {}])
def test_without_both_sides_there_is_no_ratio(table: dict[str, dict[str, float]]) -> None:
    assert ratio(SPEED, table) is None


def test_a_metric_that_nobody_has_reads_as_a_dash() -> None:
    lines = render({"wirebay": {"tcp_out": 12.345}, "pasta": {}}).splitlines()
    assert lines[0].split() == ["wirebay", "pasta", "ratio"]
    assert lines[1].split()[-3:] == ["12.35", "-", "-"]
    assert len(lines) == 1 + len(METRICS) + 1


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match="pasta is not installed"):
        by_name("pasta").find(None)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/pasta").touch()
    assert by_name("pasta").find(tmp_path) == tmp_path


def test_an_unknown_metric_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--nettool", "x", "--only", "tcp_out,nonsense"])
    assert "there is no metric nonsense" in capsys.readouterr().err


def test_what_is_ours_by_another_way_is_no_peer() -> None:
    table = {"wirebay": {"speed": 6.0}, "wirebay-stream": {"speed": 5.0}, "passt": {"speed": 3.0}}
    assert ratio(SPEED, table) == 2.0


@given(st.floats(min_value=51e6, max_value=7.9e9))
def test_the_search_finds_the_rate_from_which_on_frames_are_lost(limit: float) -> None:
    found = highest_rate(lambda rate: (rate, 0.0 if rate <= limit else 5.0), 50e6, 8e9, 12)
    assert limit / 1.002 <= found <= limit


def test_a_network_that_always_loses_has_no_rate() -> None:
    assert highest_rate(lambda rate: (rate, 2.0), 50e6, 8e9, 6) == 0
