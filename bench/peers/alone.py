"""Rows that have the gateway alone: figures that bear a bound of their own."""

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import planned
import servers
from driver import SATURATED_PERCENT, Invalid, hold, memory_of, repeated
from rows import FANOUT, FANOUT_SUBSCRIBERS
from servers import ROOT, Unavailable
from spread import Spread

# Idle connections, how often each is pinged, and how long CPU time is taken for one value.
IDLE, PING_S, WINDOW_S = 10_000, 25, 10

# What an idle connection costs hardly moves: as many readings as an interval takes.
MEMORY_ROUNDS = 6

SUBSCRIBERS, PUBLICATIONS_PER_S, LAST_RECEIVER_S = 10_000, 10, 10

# As many publications may be on their way together.
PUBLISHERS = 100
# What is offered, to the maximum; what the maximum must grow by at each step of the search; how
# long either is offered.
OVERLOAD, GROWTH, OVERLOAD_S = 1.2, 1.02, 3
STEPS_MAX = 10
# Exit codes of a generator that lagged or did not get all published, and of one whose connections
# were cut: that is what too much leads to.
OVERLOADED = (0, 2, 3, 4)

# How many connections scripts/scale holds, and longest it may take.
SCALE_CONNECTIONS, SCALE_S = 250_000, 1800


@dataclass
class Taken:
    """Values of each figure, one a round, and what is to be said with them."""

    values: dict
    asked: int
    versions: dict
    invalid: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    # What more is kept of the row.
    kept: dict = field(default_factory=dict)


def measured(row, rounds, running, bench):
    """What is to be kept of a row."""
    taken = MEASURES[row.name](rounds, running, bench)
    told = {name: figure(goal, taken.values[name], taken.asked) for name, goal in row.goals.items()}
    told = {"figures": told, "asked": taken.asked, "invalid": taken.invalid}
    return told | {"remarks": taken.remarks, "versions": taken.versions} | taken.kept


def figure(goal, values, asked):
    """What values come to, and whether that is within the goal."""
    if not values:
        return {"rounds": 0, "verdict": "invalid"}
    spread = Spread.of(values)
    # What came of one run stands for itself.
    judged = Spread(spread.median, [spread.median] * 2) if goal.once else spread
    verdict = judged.verdict(goal.bound, goal.at_least) if len(values) == asked else "invalid"
    told = {"rounds": len(values), "verdict": verdict} | vars(spread)
    return told | {"values": [round(value, 6) for value in values]}


def gateway(running, *settings, shards=1):
    """The gateway on its core until `running` ends, and its version."""
    start, version = servers.build("tidegate")
    server = start(os.environ["SERVER_CPU"], *settings, shards=shards)
    running.callback(server.stop)
    return server, {"tidegate": version}


def pending(rounds, running, bench):
    """What a delivery costs where several publications leave together, to a bare ring's sends."""
    server, versions = gateway(running)
    (saturated,) = (load for load in FANOUT if load.rate == 0)
    cores = f"{os.environ['SERVER_CPU']},{os.environ['LOAD_CPU']}"
    bare = ["limit", "--sockets", FANOUT_SUBSCRIBERS, "--cpus", cores]
    bare += ["--rounds", 1, "--duration", "1s"]

    def once(_):
        ours = bench.load(server, saturated, 0.2, 1)["us"]
        return ours, bench.run(*bare, seconds=4, core=False)["limit"]["uring_send_us_per_socket"]

    kept, invalid = repeated(rounds, once)
    remarks = []
    if kept:
        ours, theirs = (statistics.median(side) for side in zip(*kept))
        remarks = [f"{ours:.2f} µs a delivery to {theirs:.2f} µs a send"]
    values = {"ratio": [ours / theirs for ours, theirs in kept]}
    return Taken(values, rounds, versions, invalid, remarks)


def idle_memory(rounds, running, bench):
    """Bytes of user memory a connection of each kind, by a gateway of its own for every reading."""
    asked = min(rounds, MEMORY_ROUNDS)
    kinds = {
        "/echo": ["/echo"],
        "/raw": ["/raw?channel=c"],
        "/connection/websocket": ["/connection/websocket", "--protocol=centrifuge", "--channel=c"],
    }
    values = {kind: [] for kind in kinds}
    for _ in range(asked):
        for kind, (path, *session) in kinds.items():
            with contextlib.ExitStack() as one:
                server, versions = gateway(one)
                target = ["--url", f"ws://{server.address}{path}", *session]
                values[kind].append(memory_of(server, target, bench, one))
    return Taken(values, asked, versions)


def idle_cpu(rounds, running, _):
    """Microseconds a second that a connection costs which is pinged and says nothing else."""
    server, versions = gateway(running, f"limits.ping_interval={PING_S}s")
    alone = used(server, PING_S)
    # Opened over an interval, so that pings are as even as in a life of their own.
    target = ["--url", f"ws://{server.address}/raw?channel=c", "--ramp", f"{PING_S}s"]
    hold(IDLE, target, running)
    # From here on each is pinged once an interval.
    time.sleep(PING_S)
    pings, began = pings_sent(server), time.monotonic()
    rates = [used(server, WINDOW_S) for _ in range(rounds)]
    pings_per_s = (pings_sent(server) - pings) / (time.monotonic() - began)
    if pings_per_s * PING_S < 0.9 * IDLE:
        raise Unavailable(f"{pings_per_s:.0f} pings a second to {IDLE} connections: too few")
    above = [[with_them - without for with_them, without in zip(rate, alone)] for rate in rates]
    threads = statistics.median(ran for ran, _ in above)
    remarks = [
        f"{pings_per_s:.0f} pings a second; the worse of two counts, the core's, softirqs included,"
        f" and the gateway's threads', which is {threads / IDLE / 1e3:.2f} µs;"
        f" without connections these are {alone[1] / 1e6:.2f} and {alone[0] / 1e6:.2f} ms a second,"
        f" taken off"
    ]
    values = {"CPU": [max(pair) / IDLE / 1e3 for pair in above]}
    return Taken(values, rounds, versions, remarks=remarks)


def used(server, seconds):
    """Nanoseconds a second that the gateway's threads ran, and that its core was busy."""
    before, began = counts(server), time.monotonic_ns()
    time.sleep(seconds)
    ran, away = (after - first for after, first in zip(counts(server), before))
    passed = time.monotonic_ns() - began
    return ran / passed * 1e9, (passed - away) / passed * 1e9


def counts(server):
    """Nanoseconds so far that its threads ran, and that its core was idle, waited for a ring or was
    taken away by the host."""
    tasks = Path(f"/proc/{server.pid}/task").glob("*/schedstat")
    ran = sum(int(task.read_text().split()[0]) for task in tasks)
    cores = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    core = next(core for core in cores if core[0] == f"cpu{os.environ['SERVER_CPU']}")
    ticks = sum(int(core[column]) for column in (4, 5, 8))
    return ran, ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def pings_sent(server):
    return server.gateway.metrics().total("tidegate_pings_sent_total")


def last_receiver(rounds, running, bench):
    """From when a publication is due until the last subscriber has it."""
    server, versions = gateway(running)
    load = ["fanout", "--connections", SUBSCRIBERS, "--rate", PUBLICATIONS_PER_S, "--size", 64]
    timing = ["--warm-up", "1s", "--duration", f"{LAST_RECEIVER_S}s", "--quiet"]

    def once(_):
        # A ledger that is not clean is a figure here.
        arguments = [*load, *server.target("fanout"), *timing]
        report = bench.run(*arguments, seconds=LAST_RECEIVER_S, accepted=(0, 2))
        told = report["fanout"]
        unpublished = told["publications"]["due"] - told["publications"]["acknowledged"]
        ledger = report["messages"]
        missing = ledger["expected"] - ledger["delivered"] + unpublished * SUBSCRIBERS
        return told["last_us"]["p99"] / 1e3, missing, told["last_us"]["p50"] / 1e3

    kept, invalid = repeated(rounds, once)
    p99, missing, p50 = zip(*kept) if kept else ([], [], [])
    remarks = [f"of {PUBLICATIONS_PER_S * LAST_RECEIVER_S} publications a round"]
    if kept:
        remarks[0] += f"; p50 {statistics.median(p50):.1f} ms, the worst p99 {max(p99):.1f} ms"
    return Taken({"p99": p99, "not delivered": missing}, rounds, versions, invalid, remarks)


def overload(rounds, running, bench):
    """Deliveries a second where more is published than can be delivered, to the most there are."""
    server, versions = gateway(running)
    load = ["fanout", "--connections", FANOUT_SUBSCRIBERS, "--size", 64]
    load += ["--publishers", PUBLISHERS, "--quiet"]
    timing = ["--warm-up", "500ms", "--duration", f"{OVERLOAD_S}s"]

    def offered(rate):
        arguments = [*load, "--rate", round(rate), *server.target("fanout"), *timing]
        report = bench.run(*arguments, seconds=OVERLOAD_S, accepted=OVERLOADED)
        if lost := report["messages"]["lost"]:
            raise Invalid(f"{lost} messages are not accounted for at a rate of {rate:.0f}")
        if max(report[side]["cpu_percent"] for side in ("server", "generator")) < SATURATED_PERCENT:
            raise Invalid("something else had the cores")
        return report

    def delivered(rate):
        """Publications a second that all subscribers got."""
        reports, invalid = repeated(1, lambda _: offered(rate))
        if not reports:
            raise Unavailable(f"no maximum is found: {', '.join(invalid)}")
        return reports[0]["fanout"]["deliveries_per_s"] / FANOUT_SUBSCRIBERS

    best, most = maximum(delivered)
    over = OVERLOAD * most

    def once(attempt):
        # Whoever is first in turn too.
        order = (best, over) if attempt % 2 == 0 else (over, best)
        reports = {rate: offered(rate) for rate in order}
        return reports[best], reports[over]

    kept, invalid = repeated(rounds, once)
    per_s = [[report["fanout"]["deliveries_per_s"] for report in pair] for pair in kept]
    values = {"ratio": [over / most for most, over in per_s]}
    return Taken(values, rounds, versions, invalid, [overload_remark(over, kept)] if kept else [])


def maximum(delivered):
    """The rate at which most is delivered, 0 for a closed loop, and how much that is: from what a
    closed loop reaches, as long as more is delivered where more is published."""
    best, most = 0, delivered(0)
    for _ in range(STEPS_MAX):
        rate = OVERLOAD * most
        if (more := delivered(rate)) < GROWTH * most:
            break
        best, most = rate, more
    return best, most


def overload_remark(rate, kept):
    """What became of the load, at the maximum and above."""

    def at_both(pick):
        return [statistics.median(map(pick, side)) for side in zip(*kept)]

    per_s = at_both(lambda report: report["fanout"]["deliveries_per_s"])
    server = at_both(lambda report: report["server"]["cpu_percent"])
    load = at_both(lambda report: report["generator"]["cpu_percent"])
    waited = at_both(lambda report: report["fanout"]["publish_us"]["p50"] / 1e3)
    above = [report for _, report in kept]
    ends = Counter()
    for report in above:
        publications = report["fanout"]["publications"]
        ends.update({fate: publications[fate] for fate in ("due", "acknowledged", "refused")})
        ends["deliveries dropped"] += report["messages"]["dropped_by_policy"]
        ends["connections cut"] += report["connections"]["lost"]
    said = ", ".join(f"{what} {count:,}" for what, count in ends.items())
    return (
        f"{per_s[0]:,.0f} deliveries a second at the maximum, {per_s[1]:,.0f} with {rate:,.0f}"
        f" publications a second offered; the gateway's core {server[0]:.0f} and {server[1]:.0f} %"
        f" busy, the generator's {load[0]:.0f} and {load[1]:.0f} %, so that the"
        f" {'generator' if load[1] > server[1] else 'gateway'} was the limit. Above, over {PUBLISHERS}"
        f" connections that each await their answer: {said}; half of the publications waited"
        f" {waited[1]:,.0f} ms and more for theirs, {waited[0]:,.0f} ms at the maximum"
    )


def large(*_):
    """Unmasking and the check of text, and all of the decoder, to memcpy; in rounds of its own."""
    bench = ["cargo", "bench", "--locked", "--quiet", "--package=tidegate-bench", "--bench=mask"]
    pinned = ["taskset", "-c", os.environ["SERVER_CPU"]]
    by_size = json.loads(servers.run(*pinned, *bench, "--", "--json"))
    columns = {
        "ASCII": "+validate ascii",
        "mixed text": "+validate mixed",
        "ASCII, whole decoder": "decoder ascii",
    }
    values, remarks = {}, []
    for title, size in [("64 KiB", 1 << 16), ("1 MiB", 1 << 20)]:
        of = by_size[str(size)]
        values |= {f"{title}, {text}": of[column] for text, column in columns.items()}
        remarks.append(f"{title}: unmasking alone {statistics.median(of['unmask']):.2f}")
    (asked,) = {len(rounds) for rounds in values.values()}
    version = servers.build("tidegate")[1]
    return Taken(values, asked, {"tidegate": version}, remarks=["; ".join(remarks)])


def scale(_, __, bench):
    """`scripts/scale`, which holds both ends of as many connections as the goal has."""
    kept = bench.report.parent
    done = subprocess.run(
        [str(ROOT / "scripts/scale"), str(SCALE_CONNECTIONS), "both", str(kept)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SCALE_S,
    )
    files = [kept / "line.json", kept / "fanout.json"]
    if not all(file.exists() for file in files):
        raise Unavailable((done.stderr or done.stdout).strip()[-300:])
    line, report = (json.loads(file.read_text()) for file in files)
    ledger, held = report["messages"], report["connections"]
    values = {
        "held": [min(line["connections"], held["opened"] - held["lost"])],
        "R² of memory on a straight line": [line["both"]["r2"]],
        "not reached by a publication": [ledger["expected"] - ledger["delivered"]],
    }
    remarks = [
        f"{line['user']['bytes']} bytes of user memory a connection (R² {line['user']['r2']}),"
        f" {line['kernel']['bytes']} of the kernel's for both ends; of"
        f" {report['fanout']['publications']['due']} publications the slowest reached all in"
        f" {report['fanout']['last_us']['max'] / 1e3:,.0f} ms"
    ]
    return Taken(values, 1, {"tidegate": servers.build("tidegate")[1]}, remarks=remarks)


def plan(_, __, bench):
    """`tidegate-bench plan`, and what it predicts of a load that can be had here."""
    cpu, reports = os.environ["SERVER_CPU"], []
    for measure in (planned.asked, planned.tried):
        with contextlib.ExitStack() as running:
            server, versions = gateway(running, *planned.SETTINGS, shards=planned.shards())
            reports.append(measure(server, bench, cpu))
    report, (idle, load) = reports
    pairs = planned.compared(report["plan"]["costs"], idle, load)
    values = {name: [planned.off_percent(pair)] for name, pair in pairs.items()}
    kept = {"plan": report, "compared": pairs}
    return Taken(values, 1, versions, remarks=planned.remarks(idle, load), kept=kept)


MEASURES = {
    "pending": pending,
    "idle-memory": idle_memory,
    "idle-cpu": idle_cpu,
    "last-receiver": last_receiver,
    "overload": overload,
    "large": large,
    "scale": scale,
    "plan": plan,
}
