"""What drives the servers: the load generator on a core of its own, its rounds, and connections that
are held idle.

A round that lagged, or did not keep the rate, says nothing: it is repeated, counted and named, never
used.
"""

import contextlib
import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import servers
from servers import Unavailable, gateways

# Tries for each round that is asked for.
TRIES_A_ROUND = 2

# Longest run of the load generator beyond what it measures.
PATIENCE_S = 60

# In a closed loop one of the two ends has work at any time, so together they use a core and more,
# unless the machine is busy otherwise.
SATURATED_PERCENT = 80

# Idle connections between which memory is told.
FEW, MANY = 1000, 10_000


class Invalid(Exception):
    """A round that says nothing, and why."""


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

    def run(self, *arguments, seconds, core=True, accepted=(0,)):
        """The report of a run; Invalid if its exit code says so, or that not all was done, and is
        not among those `accepted`."""
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
        if done.returncode in accepted:
            return report
        if done.returncode == 3:
            raise Invalid(report.get("why") or "the generator lagged")
        raise Invalid(report["verdict"].replace("_", " "))

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


def repeated(rounds, once):
    """What `once` gives for as many valid rounds, told the number of the try, and why the others
    were not valid."""
    kept, invalid = [], Counter()
    for attempt in range(TRIES_A_ROUND * rounds):
        if len(kept) == rounds:
            break
        try:
            kept.append(once(attempt))
        except Invalid as error:
            invalid[str(error)] += 1
    return kept, dict(invalid)


def machine():
    """What it ran on."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    cpu = cpu[1] if cpu else os.uname().machine
    return {"kernel": os.uname().release, "cpu": cpu, "cores": os.cpu_count()}


def memory_of(server, target, bench, running):
    """Bytes of user memory a connection to `target`, as `scripts/memory` has it: the slope between
    two counts of idle ones."""
    touch(server, bench)
    hold(FEW, target, running)
    few = private_bytes(server.pid)
    hold(MANY - FEW, target, running)
    return round((private_bytes(server.pid) - few) / (MANY - FEW))


def touch(server, bench):
    """Has a server touch what it takes once, such as buffers."""
    load = ["echo", "--connections", 600, "--warm-up", "0s", "--duration", "2s", "--quiet"]
    with contextlib.suppress(Invalid):
        bench.run(*load, *server.target("echo"), seconds=2)


def hold(count, target, running):
    """Opens connections that stay open until `running` ends, and waits until all are."""
    idle = ["idle", "--connections", count, "--hold", "1h", "--quiet", *target]
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
