"""Runs the Autobahn test suite against the gateway and against the library's Dialer, both at a time,
and compares the result of each case with the one that is kept here. See `scripts/conformance`.

That every case was run is checked here as well: the suite ends early, and calls it a success, when
the server it tests is gone.
"""

import argparse
import collections
import concurrent.futures
import json
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import gateway as gateways

# Best first; what is not listed, such as FAILED and WRONG CODE, is worse.
RANKS = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED"]

# Cases of compression: thousands of messages each, and most of the time of a run.
HEAVY = ("12.", "13.")

# Far above what a run takes (a quarter of an hour, or half a minute if it is light), so that only a
# hang meets it.
LIMIT_S, LIGHT_LIMIT_S = 5400, 600

AGENT = "tidegate"


class Incomplete(Exception):
    """A run that did not come to its end, so its results say nothing."""


class Side:
    """One of the two ends under test: what is known of it, and where its reports go."""

    def __init__(self, name, light):
        self.name = name
        self.kept_in = HERE / f"{name}.json"
        self.reports = gateways.CACHE / "conformance" / name
        self.limit_s = LIGHT_LIMIT_S if light else LIMIT_S
        self.light = light

    def kept(self):
        """The results to hold on to, by case."""
        results = json.loads(self.kept_in.read_text())
        return {c: r for c, r in results.items() if not (self.light and c.startswith(HEAVY))}

    def suite(self, **spec):
        """Starts the suite; what it says goes to a file beside the reports."""
        self.reports.mkdir(parents=True, exist_ok=True)
        for old in self.reports.glob("*"):
            old.unlink()
        spec |= {"outdir": str(self.reports), "cases": ["*"]}
        spec["exclude-cases"] = [f"{part}*" for part in HEAVY] if self.light else []
        spec_file = self.reports / "spec"
        spec_file.write_text(json.dumps(spec))
        command = [gateways.CACHE / "autobahn/python", HERE / "suite.py", spec_file]
        with open(self.said(), "w") as said:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def said(self):
        return self.reports / "suite.log"

    def results(self):
        """What the suite has written down, by case; it is as many as it said it would run."""
        try:
            index = json.loads((self.reports / "index.json").read_text())[AGENT]
        except (OSError, KeyError) as error:
            raise Incomplete(f"no results, {error!r}; see {self.said()}") from None
        announced = re.search(r"^Ok, will run (\d+) test cases", self.said().read_text(), re.M)
        if announced is None or int(announced[1]) != len(index):
            raise Incomplete(f"only {len(index)} cases were run; see {self.said()}")
        return {case: (r["behavior"], r["behaviorClose"]) for case, r in index.items()}

    def keep(self, results):
        rows = [
            f'  "{case}": {{"behavior": "{results[case][0]}", "behaviorClose": "{results[case][1]}"}}'
            for case in sorted(results, key=in_order)
        ]
        self.kept_in.write_text("{\n" + ",\n".join(rows) + "\n}\n")


class Server(Side):
    """The gateway's /echo under the suite's fuzzing client."""

    def run(self):
        gateway = gateways.Gateway("--dev", "--set", "server.compression=true")
        try:
            gateway.wait_until_serving()
            suite = self.suite(servers=[{"agent": AGENT, "url": gateway.url("/echo")}])
            ended(suite, self.limit_s)
        finally:
            gateway.stop()
        return self.results()


class Client(Side):
    """The library's Dialer, in an example, against the suite's fuzzing server."""

    def run(self):
        suite = self.suite()
        try:
            program = gateways.binary().with_name("examples") / "autobahn"
            client = subprocess.Popen([program, self.address(suite)], stdout=subprocess.DEVNULL)
            ended(client, self.limit_s)
        finally:
            suite.kill()
            suite.wait()
        return self.results()

    def address(self, suite):
        """Where the fuzzing server listens, once it does."""
        deadline = time.monotonic() + gateways.PATIENCE_S * 6
        while time.monotonic() < deadline:
            if found := re.search(r"^listening on (\S+)$", self.said().read_text(), re.M):
                return found[1]
            try:
                suite.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        raise Incomplete(f"the fuzzing server does not listen; see {self.said()}")


def ended(process, limit_s):
    """Waits for a process, which has to end well."""
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Incomplete(f"not done after {limit_s} s") from None
    if code != 0:
        raise Incomplete(f"{Path(process.args[0]).name} ended with {code}")


def in_order(case):
    return [int(part) for part in case.split(".")]


def rank(behavior):
    return RANKS.index(behavior) if behavior in RANKS else len(RANKS)


def judge(side, results):
    """What is wrong with the results, a line each."""
    kept = side.kept()
    for case in sorted(kept.keys() ^ results.keys(), key=in_order):
        yield f"{case}: " + ("not run" if case in kept else "not a case that is kept")
    for case in sorted(kept.keys() & results.keys(), key=in_order):
        for what, now in zip(("behavior", "behaviorClose"), results[case]):
            if rank(now) > rank(before := kept[case][what]):
                yield f"{case}: {what} is {now}, was {before}"


def summary(side, results):
    counts = collections.Counter(behavior for behavior, _ in results.values())
    clean = sum(close in ("OK", "INFORMATIONAL") for _, close in results.values())
    told = ", ".join(f"{count} {behavior}" for behavior, count in counts.most_common())
    return f"{side.name} {len(results)} cases: {told}; {clean} closed well"


def main():
    parser = argparse.ArgumentParser(prog="scripts/conformance")
    parser.add_argument("scope", nargs="?", choices=["full", "light"], default="full")
    parser.add_argument("--side", choices=["server", "client"], help="only this one")
    parser.add_argument("--keep", action="store_true", help="keep the results to compare with")
    arguments = parser.parse_args()
    light = arguments.scope == "light"
    if light and arguments.keep:
        parser.error("what is kept are the results of all cases")
    sides = [Server("server", light), Client("client", light)]
    sides = [side for side in sides if arguments.side in (None, side.name)]
    began = time.monotonic()
    faults, told = [], []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [(side, pool.submit(side.run)) for side in sides]
    for side, run in runs:
        try:
            results = run.result()
        except (Incomplete, AssertionError) as error:
            faults.append(f"{side.name}: {error}")
            continue
        told.append(summary(side, results))
        if arguments.keep:
            side.keep(results)
        faults += [f"{side.name} {fault}" for fault in judge(side, results)]
    for fault in faults:
        print(fault, file=sys.stderr)
    told.append(f"{len(faults)} faults" if faults else "none fell back")
    print(f"conformance {arguments.scope}: {'; '.join(told)}; {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
