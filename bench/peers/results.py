"""The page of figures, made from what is kept of each row; what stands outside the marks stays."""

import json
import os
import re

import goals
import plan_page
import plot
from rows import ROWS, AloneRow, MemoryRow

BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"

HEAD = f"""# Figures beside other servers

{BEGIN}
{END}
"""

INTRODUCTION = """\
Made by `scripts/compare`. The server has one core, the load generator another. In rounds of a second
the two servers of a row take turns, first both at the same rate (achieved within 1 %), then each as
fast as it goes; messages are of 64 bytes, an echo goes over 100 connections, a publication to 1,000
subscribers. A figure is the server's CPU time a message, of a fan-out a delivery, the median of its
rounds. The ratio is the median of the pairs' ratios, with the interval that holds the true one in
95 of 100 cases. A goal is met or missed if the whole interval says so. Cost follows how many messages
a turn of the server's loop has: where it is Tidegate's, that stands beside it. Absolute times move by a
quarter from hour to hour; ratios move less."""

GOALS = """\
## Goals

What is asked of the gateway, and what came of it; what was found besides stands below the tables. A
verdict is that of the whole interval: where it lies on both sides of the goal, none is decided."""

CAPTION = """\
![Each ratio, its interval and its goal]({})

The ratios with their intervals; the upright mark is the goal. Green: met; red: missed; grey: not
decided, or without a goal."""

PEERS = "## Beside other servers"

COLUMNS = [
    "row",
    "load",
    "CPU a message, µs",
    "ratio",
    "95 %",
    "goal",
    "verdict",
    "messages/s",
    "a turn",
]


def write(page, kept):
    """Renews the generated part of the page from the files of the rows."""
    before = page.read_text() if page.exists() else HEAD
    told = all_told(kept)
    image = kept / "ratios.svg"
    image.write_text(plot.svg([line for row in ROWS for line in goals.lines(row, told[row.name])]))
    shown = CAPTION.format(os.path.relpath(image, page.parent))
    body = "\n\n".join(part for part in parts(told, shown) if part)
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    page.write_text(marked.sub(lambda _: f"{BEGIN}\n{body}\n{END}", before))


def all_told(kept):
    """What is kept of each row, by its name; None if it was never run."""
    files = {row.name: kept / f"{row.name}.json" for row in ROWS}
    return {
        name: json.loads(file.read_text()) if file.exists() else None
        for name, file in files.items()
    }


def parts(told, image):
    """Of the page, in their order."""
    yield GOALS
    yield table(goals.COLUMNS, goals.cells(told))
    yield image
    for part in plan_page.parts(told["plan"]):
        yield part if isinstance(part, str) else table(*part)
    yield PEERS
    yield INTRODUCTION
    measured = [cells for row in ROWS for cells in row_cells(row, told[row.name])]
    yield table(COLUMNS, measured)
    yield memory_table(told)
    yield notes(told)
    yield provenance(told)


def row_cells(row, told):
    """A line for each load of a row."""
    if isinstance(row, (MemoryRow, AloneRow)):
        return
    for load in (told or {}).get("loads", []):
        if load["rounds"] == 0:
            yield [row.title, load["load"], "", "", "", goal(row), "invalid", "", ""]
            continue
        sides = [load[name] for name in (row.subject, row.against)]
        ratio, interval = load["ratio"]["median"], load["ratio"]["interval95"]
        yield [
            row.title,
            load["load"],
            " / ".join(f"{side['us']:.2f}" for side in sides),
            f"{ratio:.3f}",
            f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "too few rounds",
            goal(row),
            load["verdict"],
            " / ".join(f"{side['messages_per_s']:,.0f}" for side in sides),
            f"{load['messages_per_turn']}" if load.get("messages_per_turn") else "",
        ]
    if told is None or "loads" not in told:
        yield [row.title, "", "", "", "", goal(row), "not measured", "", ""]


def goal(row):
    return f"{row.goal:g}" if row.goal else ""


def memory_table(told):
    row = next(row for row in ROWS if isinstance(row, MemoryRow))
    known = (told[row.name] or {}).get("bytes_per_connection")
    if known:
        cells = [[name, f"{count:,}"] for name, count in known.items()]
        return table(["idle connection on `/echo`", "user memory, bytes"], cells)


def notes(told):
    """What could not run, and rounds that did not count."""
    lines = []
    for name, row in told.items():
        if row is None:
            lines.append(f"- `{name}` has not been run: `scripts/compare 20 {name}`.")
            continue
        if "could_not_run" in row:
            last = f"its figures are of {row['measured']}" if "measured" in row else "no figure yet"
            lines.append(f"- `{name}` could not run, {last}: {row['could_not_run']}")
        for missing, why in row.get("missing", {}).items():
            lines.append(f"- `{name}`, {missing}: {why}")
        for load in row.get("loads", []):
            if invalid := load["invalid"]:
                counted = f"{load['rounds']} of {load['asked']} pairs of rounds count"
                lines.append(f"- `{name}`, {load['load']}: {counted}; {invalid_were(invalid)}")
        lines += [f"- `{name}`: {remark}." for remark in row.get("remarks", [])]
        if invalid := row.get("invalid"):
            asked = f"{row['asked']} rounds were asked for"
            lines.append(f"- `{name}`: {asked}; {invalid_were(invalid)}")
    return "\n".join(lines)


def invalid_were(causes):
    return "invalid were " + ", ".join(f"{why} ({count})" for why, count in causes.items())


def provenance(told):
    """Each row's command, day, versions and machine."""
    cells = []
    for row in told.values():
        if row is None or "measured" not in row:
            continue
        machine = row["environment"]
        cells.append(
            [
                f"`{row['command']}`",
                row["measured"],
                "; ".join(f"{name} {version}" for name, version in row["versions"].items()),
                f"Linux {machine['kernel']}, {machine['cpu']}, {machine['cores']} cores",
            ]
        )
    return table(["to repeat", "measured", "versions", "machine"], cells) if cells else ""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def lines(row, told):
    """What was found, for whoever waits."""
    if "could_not_run" in told:
        yield f"{row.name}: could not run: {told['could_not_run']}"
    elif isinstance(row, MemoryRow):
        yield f"{row.name}: {told['bytes_per_connection']}"
    elif isinstance(row, AloneRow):
        for line in goals.lines(row, told):
            told_of = [str(line.goal), *goals.measured_cells(line, told)]
            yield f"{row.name}: {line.title}  " + "  ".join(cell for cell in told_of if cell)
        yield from (f"{row.name}: {remark}" for remark in told["remarks"])
    else:
        for cells in row_cells(row, told):
            yield f"{row.name}: " + "  ".join(cell for cell in cells[1:] if cell)
