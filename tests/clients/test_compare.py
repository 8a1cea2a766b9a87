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
