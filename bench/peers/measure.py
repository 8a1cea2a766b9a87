"""Measures one row: starts its servers on one core, drives them in turn from another, and gives what
came of it as it is kept.
"""

import contextlib
import os
import statistics
import subprocess
import threading
import time

import alone
from driver import TRIES_A_ROUND, Bench, Invalid, machine, memory_of, repeated, started
from rows import AloneRow, LimitRow, MemoryRow
from servers import Unavailable
from spread import Spread

# In a run of its own, between these times, the turns of the gateway's shard are counted: reading
# its metrics costs something, so nothing else is taken from that run.
TURNS_WARM_UP_S, TURNS_MEASURE_S = 1, 2
TURNS_FROM_S, TURNS_FOR_S = 1.5, 1


def measured(row, rounds, work):
    """What is to be kept of a row; Unavailable if there is nothing. `work` is a directory."""
    with contextlib.ExitStack() as running:
        bench = Bench(work)
        if isinstance(row, AloneRow):
            told = alone.measured(row, rounds, running, bench)
        elif isinstance(row, MemoryRow):
            told = memory(row, bench)
        elif isinstance(row, LimitRow):
            told = limit(row, rounds, running, bench)
        else:
            pair = Pair(row, running, bench)
            told = {"loads": [pair.measure(load, rounds) for load in row.loads]}
            told["versions"] = pair.versions
        return told | {"environment": machine()}


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
        for name in self.names:
            # Not counted: code is compiled while it first runs, memory touched the first time.
            with contextlib.suppress(Invalid):
                self.round(name, load)

        def pair(attempt):
            order = self.names if attempt % 2 == 0 else self.names[::-1]
            return {name: self.round(name, load) for name in order}

        kept, invalid = repeated(rounds, pair)
        told = {"load": load.name, "asked": rounds, "rounds": len(kept), "invalid": invalid}
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
                target = up[name].target("echo")
                told[name] = memory_of(up[name], target, bench, running)
                versions |= version
        except (Unavailable, AssertionError, OSError, subprocess.SubprocessError) as error:
            missing[name] = str(error)
    if not told:
        raise Unavailable("; ".join(missing.values()))
    return {"bytes_per_connection": told, "missing": missing, "versions": versions}
