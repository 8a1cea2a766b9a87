"""What is asked of the figures, and what came of each: the table that heads the page."""

from dataclasses import dataclass

from rows import ROWS, AloneRow, Goal, MemoryRow

# The rows that have a goal, as the goals are told; and one that is to be shown beside.
ORDER = [
    "limit-echo",
    "limit-fanout",
    "pending",
    "fanout-bun",
    "centrifuge-centrifugo",
    "echo-gorilla",
    "fanout-gorilla",
    "idle-memory",
    "idle-cpu",
    "last-receiver",
    "overload",
    "large",
    "big-bun",
    "scale",
    "plan",
]

COLUMNS = ["figure", "goal", "measured", "95 %", "verdict", "to repeat"]


@dataclass
class Line:
    """One figure of a row: its median, interval and verdict, or None if it was never measured."""

    title: str
    goal: Goal
    figure: dict | None

    @property
    def measured(self):
        return self.figure is not None and self.figure.get("median") is not None


def lines(row, told):
    """A line for each figure of a row, `told` what is kept of it."""
    told = told or {}
    if isinstance(row, MemoryRow):
        return []
    if isinstance(row, AloneRow):
        figures = told.get("figures", {})
        of = lambda name: f"{row.title}: {name}" if len(row.goals) > 1 else row.title
        return [Line(of(name), goal, figures.get(name)) for name, goal in row.goals.items()]
    goal, found = Goal(row.goal), []
    for load in told.get("loads", []):
        figure = load.get("ratio", {}) | {"verdict": load["verdict"]}
        found.append(Line(f"{row.title}, {load['load']}", goal, figure))
    return found or [Line(row.title, goal, None)]


def cells(told):
    """The table's lines, `told` what is kept of each row by its name."""
    rows = {row.name: row for row in ROWS}
    for name in ORDER:
        kept = told[name] or {}
        repeat = f"`{kept.get('command', f'scripts/compare 20 {name}')}`"
        for line in lines(rows[name], kept):
            yield [line.title, str(line.goal), *measured_cells(line, kept), repeat]


def measured_cells(line, kept):
    """Value, interval and verdict; of what could not be measured again, from when they are."""
    verdict = line.figure["verdict"] if line.figure else "not measured"
    if "could_not_run" in kept and line.figure:
        verdict += f", of {kept['measured']}: could not run"
    elif "could_not_run" in kept:
        verdict += ": could not run"
    if not line.measured:
        return ["", "", verdict]
    return [line.goal.write(line.figure["median"]), interval(line), verdict]


def interval(line):
    if line.goal.once:
        return "one run"
    ends = line.figure["interval95"]
    return " to ".join(line.goal.write(end) for end in ends) if ends else "too few rounds"
