"""The page's part on the plan: the question, what is needed for it, what was found, and what a trial
made of the prediction."""

QUESTION = """\
## Plan: a million connections

One million connections in 1,000 channels, 500,000 deliveries a second, p99 under 50 ms: what does a
server need for it? `tidegate-bench plan` answers from runs with up to 10,000 connections:"""

EDGES = """\
The most within the objectives, in channels of 1,000:"""

PREDICTION = """\
The same costs predict a tenth of the question: 100,000 connections, 100 channels, 50,000 deliveries
a second. That was then measured, in a gateway started anew:"""


def parts(told):
    """Of the row as it is kept: texts, and heads with lines of tables; nothing if there is no plan."""
    if not told or "plan" not in told:
        return
    report = told["plan"]
    plan = report["plan"]
    yield QUESTION
    yield f"```\n{report['tool']['command']}\n```"
    yield ["need", "of the target", "to have for it", "here", "rests on"], needs(plan)
    yield f"This machine has least of: {plan['runs_out_first']}. {EDGES}"
    yield ["connections", "publications/s", "deliveries/s", "ended by"], edges(plan)
    yield PREDICTION
    yield ["100,000 connections", "predicted", "measured", "measured to predicted"], trial(told)
    if plan["notes"]:
        yield "What `plan` says besides:"
        yield "\n".join(f"- {note}." for note in plan["notes"])


def needs(plan):
    """A line for each need, the server's memory told apart."""
    connections = plan["target"]["connections"]
    for need in plan["needs"]:
        wrote = [written(need[key], need["unit"]) for key in ("amount", "provide", "here")]
        yield [need["name"], *wrote, need["basis"]]
        if need["name"] == "memory":
            costs = plan["costs"]
            for line, whose in (("memory", "its own"), ("kernel", "the kernel's")):
                if cost := costs[line]:
                    # As `plan` has it, the kernel has nothing without a connection.
                    base = cost["base"] if line == "memory" else 0
                    amount = written(base + cost["per_unit"] * connections, "bytes")
                    per = f"{cost['per_unit']:,.0f} bytes a connection"
                    yield [f"memory, {whose}", amount, amount, "", fitted(per, cost)]


def fitted(what, cost):
    quality = cost["quality"]
    return f"{what}, R² {quality['r_squared']:.4f} over {quality['points']} points"


def edges(plan):
    """A line for each search."""
    for search in plan["searches"]:
        found = [search["rate"], search["deliveries_per_s"]]
        found = ["none" if value is None else f"{value:,.0f}" for value in found]
        yield [f"{search['connections']:,}", *found, search["ended_by"] or ""]


def trial(told):
    """A line for each figure that was predicted and measured."""
    for name, (prediction, value) in told["compared"].items():
        unit = "cores" if name.startswith("CPU") else "bytes"
        wrote = [written(amount, unit) for amount in (prediction, value)]
        yield [name, *wrote, f"{value / prediction:.3f}"]


def written(amount, unit):
    """An amount for people."""
    if amount is None:
        return "not known"
    if unit == "bytes":
        return f"{amount / 2**30:,.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:,.1f} MiB"
    if unit == "bits_per_s":
        return f"{amount / 1e9:,.2f} Gbit/s"
    return f"{amount:,.3f}" if unit == "cores" else f"{amount:,.0f}"
