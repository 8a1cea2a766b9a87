"""Hazard: a comparison with other servers claims what its rounds do not show, or loses what it had."""

import json
from pathlib import Path

import pytest

PEERS = Path(__file__).resolve().parents[2] / "bench/peers"


@pytest.fixture(autouse=True)
def imported(monkeypatch):
    monkeypatch.syspath_prepend(PEERS)


# Tables of the sign test, two-sided at 5 %: those of `bench/src/limit/spread.rs`.
@pytest.mark.parametrize("count, cut", [(5, None), (6, 0), (9, 1), (12, 2), (20, 5), (25, 7)])
def test_ranks_are_those_of_the_sign_test(count, cut):
    from spread import outside

    assert outside(count) == cut


@pytest.mark.parametrize(
    "low, high, verdict",
    [(0.4, 0.6, "met"), (0.4, 0.61, "not decided"), (0.61, 0.7, "missed")],
)
def test_a_goal_is_decided_by_the_whole_interval(low, high, verdict):
    from spread import Spread

    assert Spread.of([low, low, low, high, high, high]).verdict(0.6) == verdict
    assert Spread.of([low, high]).verdict(0.6) == "not decided"
    assert Spread.of([low]).verdict(None) == "no goal"


@pytest.mark.parametrize(
    "low, high, verdict",
    [(0.5, 0.9, "met"), (0.49, 0.9, "not decided"), (0.3, 0.49, "missed")],
)
def test_a_lower_bound_is_held_by_the_lower_end(low, high, verdict):
    from spread import Spread

    assert Spread.of([low, low, low, high, high, high]).verdict(0.5, at_least=True) == verdict


def test_a_figure_of_one_run_is_judged_by_itself_and_too_few_rounds_are_not():
    from alone import figure
    from rows import Goal

    once = Goal(0.999, "", ".5f", at_least=True, once=True)
    assert figure(once, [0.9991], asked=1)["verdict"] == "met"
    assert figure(once, [0.9989], asked=1)["verdict"] == "missed"
    assert figure(Goal(1), [0.5] * 5, asked=5)["verdict"] == "not decided"
    assert figure(Goal(1), [0.5] * 19, asked=20)["verdict"] == "invalid"
    assert figure(Goal(1), [], asked=20) == {"rounds": 0, "verdict": "invalid"}


@pytest.mark.parametrize(
    "capacity, found",
    # Of a server that delivers as much as it can, and of which a closed loop gets half.
    [(lambda rate: 1000, (0, 1000)), (lambda rate: min(rate or 500, 1000), (1037, 1000))],
)
def test_the_maximum_is_where_more_is_not_delivered(capacity, found):
    from alone import maximum

    rate, most = maximum(capacity)
    assert (round(rate), round(most)) == found


def test_a_row_that_cannot_run_keeps_its_last_figures_and_says_why(tmp_path, monkeypatch):
    import compare
    import results
    import rows
    import servers

    row = next(row for row in rows.ROWS if row.name == "centrifuge-centrifugo")
    side = {"us": 2.5, "messages_per_s": 50_000}
    load = {"load": "50/s", "asked": 20, "rounds": 20, "invalid": {}, "verdict": "not decided"}
    load |= {"ratio": {"median": 0.417, "interval95": [0.391, 0.425]}}
    load |= {"tidegate": side, "centrifugo": side, "messages_per_turn": None}
    kept = {"row": row.name, "measured": "2026-01-02", "command": "scripts/compare", "loads": [load]}
    kept |= {"versions": {}, "environment": {"kernel": "6.18", "cpu": "some", "cores": 2}}
    (tmp_path / f"{row.name}.json").write_text(json.dumps(kept))

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "CACHE", tmp_path)
    assert not compare.run(row, 20, tmp_path)
    page = tmp_path / "RESULTS.md"
    page.write_text(results.HEAD + "\nBy hand.\n")
    results.write(page, tmp_path)

    text = page.read_text()
    assert "| 0.417 | 0.391 to 0.425 | 0.4 | not decided |" in text
    assert f"- `{row.name}` could not run, its figures are of 2026-01-02: go is missing" in text
    assert text.endswith("\nBy hand.\n")
    goal = f"| {row.title}, 50/s | at most 0.4 | 0.417 | 0.391 to 0.425 |"
    assert f"{goal} not decided, of 2026-01-02: could not run | `scripts/compare` |" in text
    image = (tmp_path / "ratios.svg").read_text()
    assert f">{row.title}, 50/s</text>" in image and ">0.417</text>" in image


def test_every_goal_has_its_line_measured_or_not(tmp_path):
    import goals
    import results
    import rows

    page = tmp_path / "RESULTS.md"
    row = next(row for row in rows.ROWS if row.name == "last-receiver")
    figure = {"rounds": 20, "median": 59.62, "interval95": [58, 61.04], "verdict": "met"}
    kept = {"row": row.name, "measured": "2026-01-02", "command": "some command"}
    kept |= {"figures": {"p99": figure}, "asked": 20, "invalid": {"lagged": 2}, "versions": {}}
    kept |= {"remarks": ["said"], "environment": {"kernel": "6.18", "cpu": "some", "cores": 2}}
    (tmp_path / f"{row.name}.json").write_text(json.dumps(kept))
    results.write(page, tmp_path)

    text = page.read_text()
    assert f"| {row.title}: p99 | at most 100 ms | 59.6 ms | 58.0 ms to 61.0 ms | met |" in text
    assert "- `last-receiver`: said." in text
    assert "- `last-receiver`: 20 rounds were asked for; invalid were lagged (2)" in text
    for name in set(goals.ORDER) - {row.name}:
        assert f"not measured | `scripts/compare 20 {name}` |" in text, name
    bounded = {row.name for row in rows.ROWS if getattr(row, "goal", None) or hasattr(row, "goals")}
    assert bounded <= set(goals.ORDER)
