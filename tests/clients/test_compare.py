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


COSTS = {
    "memory": {"base": 10e6, "per_unit": 500},
    "kernel": {"base": 7e6, "per_unit": 3000},
    "idle": {"base": 100, "per_unit": 2},
    "delivery": {"base_cores": 0.01, "us_per_delivery": 3, "us_per_publication": 40},
}


def test_a_prediction_is_what_costs_come_to():
    from planned import predicted

    there = predicted(COSTS, 100_000, 50_000, 50)
    assert there["user"] == 10e6 + 500 * 100_000
    assert there["kernel"] == 3000 * 100_000
    # At rest, for pings, for deliveries and for publications.
    assert round(there["cores"], 6) == round(0.01 + 0.2 + 0.15 + 0.002, 6)
    together = COSTS | {"delivery": COSTS["delivery"] | {"us_per_publication": None}}
    assert round(predicted(together, 100_000, 50_000, 50)["cores"], 6) == 0.36


def test_a_prediction_is_judged_on_either_side():
    from alone import figure
    from planned import compared, off_percent
    from rows import ROWS

    server = {"rss_bytes": 54e6, "kernel_per_connection_bytes": 3600}
    idle = {"connections": {"opened": 100_000}}
    idle["server"] = server | {"cpu_percent": 20, "core_busy_percent": 23.1}
    load = {"fanout": {"deliveries_per_s": 50_000}, "rate": {"achieved": 50}}
    load["server"] = server | {"cpu_percent": 29, "core_busy_percent": 28}
    pairs = compared(COSTS, idle, load)
    off = {name: round(off_percent(pair), 1) for name, pair in pairs.items()}
    assert off == {
        "memory": 15.0,
        "user memory": 10.0,
        "kernel memory": 20.0,
        "CPU, idle": 10.0,
        "CPU under load": 19.9,
    }
    (goals,) = [row.goals for row in ROWS if row.name == "plan"]
    assert goals.keys() == off.keys()
    verdict = {name: figure(goals[name], [off[name]], asked=1)["verdict"] for name in off}
    assert verdict["CPU, idle"] == "met" and verdict["CPU under load"] == "missed"


def test_a_plan_is_shown_with_what_it_rests_on():
    import plan_page
    import results

    quality = {"r_squared": 0.99987, "points": 5}
    costs = {name: COSTS[name] | {"quality": quality} for name in ("memory", "kernel")}
    need = {"amount": 3.5 * 2**30, "provide": 3.5 * 2**30, "here": 24 * 2**30, "unit": "bytes"}
    need |= {"name": "memory", "basis": "extrapolated 100 times"}
    search = {"connections": 1000, "rate": None, "deliveries_per_s": None, "ended_by": "server"}
    plan = {"target": {"connections": 1_000_000}, "costs": costs, "needs": [need]}
    plan |= {"runs_out_first": "memory", "searches": [search], "notes": ["said"]}
    told = {"plan": {"plan": plan, "tool": {"command": "tidegate-bench plan"}}}
    told["compared"] = {"CPU, idle": (0.2, 0.21)}
    parts = list(plan_page.parts(told))
    text = "\n".join(part if isinstance(part, str) else results.table(*part) for part in parts)

    assert "| memory | 3.50 GiB | 3.50 GiB | 24.00 GiB | extrapolated 100 times |" in text
    assert "| memory, its own | 486.4 MiB | 486.4 MiB |  | 500 bytes a connection, R² 0.9999" in text
    assert "| 1,000 | none | none | server |" in text
    assert "| CPU, idle | 0.200 | 0.210 | 1.050 |" in text
    assert "- said." in text
    assert list(plan_page.parts(None)) == []
