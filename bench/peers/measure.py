"""Measures one row: starts its servers on one core, drives them in turn from another, and gives what
came of it as it is kept.

A round that lagged, or did not keep the rate, says nothing: it is repeated with its partner, counted
and named, never used.
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import servers
from rows import LimitRow, MemoryRow
from servers import Unavailable, gateways
from spread import Spread

# Tries for each round that is asked for.
TRIES_A_ROUND = 2

# Longest run of the load generator beyond what it measures.
PATIENCE_S = 60

# In a run of its own, between these times, the turns of the gateway's shard are counted: reading
# its metrics costs something, so nothing else is taken from that run.
TURNS_WARM_UP_S, TURNS_MEASURE_S = 1, 2
TURNS_FROM_S, TURNS_FOR_S = 1.5, 1

# In a closed loop one of the two ends has work at any time, so together they use a core and more,
# unless the machine is busy otherwise.
SATURATED_PERCENT = 80

# Idle connections between which memory is told.
FEW, MANY = 1000, 10_000


class Invalid(Exception):
    """A round that says nothing, and why."""


def measured(row, rounds, work):
    """What is to be kept of a row; Unavailable if there is nothing. `work` is a directory."""
    with contextlib.ExitStack() as running:
        bench = Bench(work)
        if isinstance(row, MemoryRow):
            return memory(row, bench)
        if isinstance(row, LimitRow):
            told = limit(row, rounds, running, bench)
        else:
            pair = Pair(row, running, bench)
            told = {"loads": [pair.measure(load, rounds) for load in row.loads]}
            told["versions"] = pair.versions
        return told | {"environment": bench.environment}


def started(names, running):
    """Servers on their core until `running` ends, and their versions; none is started unless all
    can be built."""
    built = {name: servers.build(name) for name in names}
    up = {}
    for name, (start, _) in built.items():
        up[name] = start(os.environ["SERVER_CPU"])
        running.callback(up[name].stop)
    return up, {name: version for name, (_, version) in built.items()}


class Bench:
    """The load generator on its core."""

    def __init__(self, work):
        self.report = work / "report.json"
        self.environment = {}

    def run(self, *arguments, seconds, core=True):
        """The report of a run; Invalid if it says so itself, or that not all was done."""
        self.report.unlink(missing_ok=True)
        done = subprocess.run(
            [*command(*arguments, core=core), "--json", str(self.report)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + PATIENCE_S,
        )
        if not self.report.exists():
            raise Unavailable((done.stderr or done.stdout).strip()[-300:])
        report = json.loads(self.report.read_text())
        self.environment = {key: report["environment"][key] for key in ("kernel", "cpu", "cores")}
        if done.returncode == 3:
            raise Invalid(report.get("why") or "the generator lagged")
        if done.returncode != 0:
            raise Invalid(report["verdict"].replace("_", " "))
        return report

    def load(self, server, load, warm_up_s, measure_s):
        """What a load cost a server."""
        arguments = [*load.arguments, "--rate", load.rate, *server.target(load.kind), "--quiet"]
        timing = ["--warm-up", f"{warm_up_s}s", "--duration", f"{measure_s}s"]
        report = self.run(*arguments, *timing, seconds=warm_up_s + measure_s)
        achieved = report["rate"]["achieved"]
        # A window of a second may hold one publication more or less.
        if load.rate and abs(achieved - load.rate) > 0.01 * load.rate + 1 / measure_s:
            raise Invalid("not within 1 % of the rate")
        used = report["server"]["cpu_percent"] + report["generator"]["cpu_percent"]
        if not load.rate and used < SATURATED_PERCENT:
            raise Invalid("something else had the cores")
        return {
            "us": round(report["server"]["counted_us_per_message"], 3),
            "messages_per_s": round(report["messages"]["delivered"] / report["duration_s"]),
            "cpu_percent": round(report["server"]["cpu_percent"], 1),
            "p99_us": round(report["latency_us"]["p99"]),
        }


def command(*arguments, core=True):
    """The command line of the load generator, on its core unless it finds that itself."""
    pinned = ["taskset", "-c", os.environ["LOAD_CPU"]] if core else []
    return [*pinned, str(gateways.load_generator()), *(str(part) for part in arguments)]


class Pair:
    """A row's two servers, running, each idle while the other has its turn."""

    def __init__(self, row, running, bench):
        self.row, self.bench = row, bench
        self.names = (row.subject, row.against)
        self.servers, self.versions = started(self.names, running)

    def round(self, name, load, warm_up_s=0.2, measure_s=1):
        try:
            return self.bench.load(self.servers[name], load, warm_up_s, measure_s)
        except Invalid as error:
            raise Invalid(f"{name}: {error}") from None

    def measure(self, load, rounds):
        """Pairs of rounds, who is first in turn too, and what they come to."""
        kept, invalid = [], Counter()
        for name in self.names:
            # Not counted: code is compiled while it first runs, memory touched the first time.
            with contextlib.suppress(Invalid):
                self.round(name, load)
        for attempt in range(TRIES_A_ROUND * rounds):
            if len(kept) == rounds:
                break
            order = self.names if attempt % 2 == 0 else self.names[::-1]
            try:
                kept.append({name: self.round(name, load) for name in order})
            except Invalid as error:
                invalid[str(error)] += 1
        told = {"load": load.name, "asked": rounds, "rounds": len(kept), "invalid": dict(invalid)}
        if kept:
            told |= self.summary(kept)
            told["messages_per_turn"] = self.messages_per_turn(load)
        enough = len(kept) == rounds
        told["verdict"] = self.ratio(kept).verdict(self.row.goal) if enough else "invalid"
        return told

    def ratio(self, kept):
        first, second = self.names
        return Spread.of(pair[first]["us"] / pair[second]["us"] for pair in kept)

    def summary(self, kept):
        told = {"ratio": vars(self.ratio(kept))}
        for name in self.names:
            of = [pair[name] for pair in kept]
            told[name] = {key: round(statistics.median(one[key] for one in of), 3) for key in of[0]}
            told[name]["rounds_us"] = [one["us"] for one in of]
        return told

    def messages_per_turn(self, load):
        """Of the gateway's shard, if it is one of the two."""
        if "tidegate" not in self.names:
            return None

        def run():
            with contextlib.suppress(Invalid):
                self.round("tidegate", load, TURNS_WARM_UP_S, TURNS_MEASURE_S)

        return messages_per_turn(self.servers["tidegate"], run)


def messages_per_turn(gateway, run):
    """Messages the gateway's shard has a turn while something drives it."""
    load = threading.Thread(target=run)
    load.start()
    try:
        time.sleep(TURNS_FROM_S)
        turns, messages = gateway.counted()
        time.sleep(TURNS_FOR_S)
        turns_later, messages_later = gateway.counted()
    finally:
        load.join()
    return round((messages_later - messages) / max(turns_later - turns, 1), 1)


def limit(row, rounds, running, bench):
    """`tidegate-bench limit`, which takes turns by itself."""
    up, versions = started(["tidegate"], running)
    cores = f"{os.environ['SERVER_CPU']},{os.environ['LOAD_CPU']}"
    target = up["tidegate"].target(row.kind)
    target[target.index("--url")] = "--against"
    arguments = ["limit", *target, *row.arguments, "--cpus", cores, "--duration", f"{rounds}s"]
    for left in reversed(range(TRIES_A_ROUND)):
        try:
            against = bench.run(*arguments, seconds=4 * rounds, core=False)["against"]
            break
        except Invalid as error:
            if left == 0:
                raise Unavailable(f"no valid run in {TRIES_A_ROUND}: {error}") from None
    bare = against["uring_send_paced"] or against["echo_ws_minimal"]
    ratio = Spread.of(against["ratio"]["rounds"])
    told = {"load": "100/s" if row.kind == "fanout" else "saturated", "asked": rounds}
    told |= {"rounds": rounds, "invalid": {}, "ratio": vars(ratio)}
    for name, side in (("tidegate", against["server"]), ("limit", bare)):
        us = side["server_us_per_message"]
        told[name] = {"us": us["median"], "messages_per_s": round(side["messages_per_s"])}
        told[name]["rounds_us"] = [round(value, 3) for value in us["rounds"]]
    told["verdict"] = ratio.verdict(row.goal)
    return {"loads": [told], "versions": versions}


def memory(row, bench):
    """Bytes of user memory a connection, for each server that runs here."""
    told, versions, missing = {}, {}, {}
    for name in row.servers:
        try:
            with contextlib.ExitStack() as running:
                up, version = started([name], running)
                told[name] = memory_of(up[name], bench, running)
                versions |= version
        except (Unavailable, AssertionError, OSError, subprocess.SubprocessError) as error:
            missing[name] = str(error)
    if not told:
        raise Unavailable("; ".join(missing.values()))
    told = {"bytes_per_connection": told, "missing": missing, "versions": versions}
    return told | {"environment": bench.environment}


def memory_of(server, bench, running):
    """As `scripts/memory` has it: the slope between two counts of idle connections."""
    # Touches what the server takes once, such as buffers.
    load = ["echo", "--connections", 600, "--warm-up", "0s", "--duration", "2s", "--quiet"]
    with contextlib.suppress(Invalid):
        bench.run(*load, *server.target("echo"), seconds=2)
    hold(FEW, server, running)
    few = private_bytes(server.pid)
    hold(MANY - FEW, server, running)
    return round((private_bytes(server.pid) - few) / (MANY - FEW))


def hold(count, server, running):
    """Opens connections that stay open until `running` ends, and waits until all are."""
    idle = ["idle", "--connections", count, "--hold", "1h", "--quiet", *server.target("echo")]
    holder = running.enter_context(
        subprocess.Popen(command(*idle), stdout=subprocess.PIPE, text=True)
    )
    running.callback(holder.terminate)
    lines = gateways.Lines(holder.stdout)
    if not lines.wait_for(f"^holding {count} of {count} ", timeout=PATIENCE_S):
        raise Unavailable(f"{count} connections could not be held: {lines.text()}")
    # The last 101 has left by the time the server has been idle for a moment.
    time.sleep(1)


def private_bytes(pid):
    """What belongs to a process alone and was written to."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Private_Dirty: +(\d+) kB$", rollup, re.M)[1]) * 1024
