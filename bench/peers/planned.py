"""`tidegate-bench plan` asked a real question, and its prediction held against what ten times the
connections cost that it had measured with."""

import resource
import shlex

from driver import Invalid, repeated, touch
from servers import Unavailable

# What is asked, and what every window is held to.
CONNECTIONS, CHANNELS, DELIVERIES_PER_S = 1_000_000, 1000, 500_000
OBJECTIVES = "p99<=50ms,loss=0"

# Connections of the searches and most idle ones: what is known when the prediction is made.
SEARCHED, IDLE = [1000, 3000, 10_000], 10_000
WINDOW_S = 2
# Longest a plan may take.
PLAN_S = 1200
# Found and repeated; at some count missed from the first; the generator was the limit of all.
PLANNED = (0, 2, 3)

# What a prediction is made of.
COSTS = ("memory", "kernel", "idle", "delivery")

# Part of the question that is tried: all of it, connections, channels and deliveries.
TRIED = 10

# How often a connection is pinged, and how long is measured: the first ping comes half to a whole
# interval after it opened, so each has one meanwhile.
PING_S = 25

SETTINGS = [
    "server.descriptors=table",
    f"limits.ping_interval={PING_S}s",
    f"limits.pong_timeout={PING_S}s",
]

# Share of its limit on open files that a shard, or a thread of the generator, fills with slots.
FILLED = 0.9


def shards():
    """As many as hold in table slots what is tried, whatever the limit on open files; here they
    share a core."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1
    return max(1, -(-CONNECTIONS // TRIED // int(limit * FILLED)))


def asked(server, bench, cpu):
    """The report of `plan` for the question, of a server started anew."""
    touch(server, bench)
    target = ["--target-connections", CONNECTIONS, "--target-deliveries", DELIVERIES_PER_S]
    target += ["--target-audience", CONNECTIONS // CHANNELS, "--slo", OBJECTIVES]
    runs = ["--connections", ",".join(map(str, SEARCHED)), "--window", f"{WINDOW_S}s"]
    runs += ["--idle", IDLE, "--hold", f"{PING_S}s"]
    place = [*server.target("fanout"), "--server-cpu", cpu, "--quiet"]
    report = bench.run("plan", *target, *runs, *place, seconds=PLAN_S, accepted=PLANNED)
    costs = report["plan"]["costs"]
    if missing := [name for name in COSTS if not costs[name]]:
        raise Unavailable(f"the plan has no costs of: {', '.join(missing)}")
    # Where its files lie is nobody's business.
    report["tool"]["command"] = shlex.join(map(str, ["tidegate-bench", "plan", *target, *runs]))
    return report


def predicted(costs, connections, deliveries_per_s=0, publications_per_s=0):
    """What `costs` of a plan come to, as it comes to its needs: bytes and cores."""
    delivery = costs["delivery"]
    us_per_s = (
        costs["idle"]["per_unit"] * connections
        + delivery["us_per_delivery"] * deliveries_per_s
        + (delivery["us_per_publication"] or 0) * publications_per_s
    )
    return {
        "user": costs["memory"]["base"] + costs["memory"]["per_unit"] * connections,
        "kernel": costs["kernel"]["per_unit"] * connections,
        "cores": delivery["base_cores"] + us_per_s / 1e6,
    }


def tried(server, bench, cpu):
    """The reports of a part of the question: its connections idle, then with its deliveries."""
    touch(server, bench)
    held = ["--connections", CONNECTIONS // TRIED, "--descriptors", "table", "--threads", shards()]
    held += ["--server-cpu", cpu, "--quiet"]
    here = server.target("fanout")
    idle = ["idle", *held, *here[: here.index("--publish")], "--hold", f"{PING_S}s"]
    rate = DELIVERIES_PER_S // TRIED * CHANNELS // CONNECTIONS
    load = ["fanout", *held, *here, "--channels", CHANNELS // TRIED, "--rate", rate]
    load += ["--warm-up", "2s", "--duration", f"{PING_S}s"]

    def loaded(_):
        # However late the generator was: what came in that time is what is paid for.
        report = bench.run(*load, seconds=4 * PING_S, accepted=(0, 3))
        if abs(report["rate"]["achieved"] - rate) > 0.01 * rate + 1 / PING_S:
            raise Invalid("not within 1 % of the rate")
        return report

    reports = [bench.run(*idle, seconds=4 * PING_S)]
    kept, invalid = repeated(1, loaded)
    if not kept:
        raise Unavailable(f"no valid run under load: {', '.join(invalid)}")
    return reports + kept


def compared(costs, idle, load):
    """Of each figure what was predicted and what was measured."""
    count = idle["connections"]["opened"]
    at_rest = predicted(costs, count)
    delivered = load["fanout"]["deliveries_per_s"]
    under_load = predicted(costs, count, delivered, load["rate"]["achieved"])
    user = idle["server"]["rss_bytes"]
    kernel = idle["server"]["kernel_per_connection_bytes"] * count
    return {
        "memory": (at_rest["user"] + at_rest["kernel"], user + kernel),
        "user memory": (at_rest["user"], user),
        "kernel memory": (at_rest["kernel"], kernel),
        "CPU, idle": (at_rest["cores"], cores(idle)),
        "CPU under load": (under_load["cores"], cores(load)),
    }


def cores(report):
    """What a run used of the server's core, in the worse of two counts, as `plan` has it."""
    server = report["server"]
    return max(server["cpu_percent"], server["core_busy_percent"]) / 100


def off_percent(pair):
    """How far a measured value lies from the predicted one."""
    prediction, value = pair
    return abs(value / prediction - 1) * 100


def remarks(idle, load):
    """What the trial does not show."""
    ledger, held = load["messages"], load["connections"]
    lag_ms = load["generator"]["lag_p99_us"] / 1e3
    return [
        f"{idle['connections']['opened']:,} connections were held and answered"
        f" {idle['connections']['pings_answered']:,} pings; under load {held['lost']} of"
        f" {held['opened']:,} were lost, and {ledger['lost']} of {ledger['expected']:,} deliveries",
        f"p99 under load was {load['latency_us']['p99'] / 1e3:.1f} ms with the generator's own lag,"
        f" {lag_ms:.1f} ms at p99, for its {shards()} threads share a core: whether the gateway kept"
        " the objective is known of the searches alone",
        f"the gateway has {shards()} shards on its core, in the plan and the trial alike: so many hold"
        " 100,000 connections in table slots under this limit on open files. A publication"
        " wakes each of them, which is in what it costs here",
        "a million connections cannot be tried here: both ends share one machine and its memory",
    ]
