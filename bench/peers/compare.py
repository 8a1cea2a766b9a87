"""Runs the rows that are asked for and writes down what came of them. See `scripts/compare`."""

import argparse
import json
import re
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import results
from measure import measured
from rows import ROWS
from servers import CACHE, ROOT, Unavailable

# With fewer there is no figure to keep.
ROUNDS_MIN = 20


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare")
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS_MIN)
    names = [row.name for row in ROWS]
    parser.add_argument("row", nargs="*", help=f"of {', '.join(names)} (default all but scale, plan)")
    arguments = parser.parse_args()
    if unknown := set(arguments.row) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if arguments.rounds < 1:
        parser.error("at least one round")
    # What was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    kept, page = CACHE / "trial", CACHE / "trial/RESULTS.md"
    if arguments.rounds >= ROUNDS_MIN:
        kept, page = ROOT / "bench/baselines/compare", ROOT / "bench/RESULTS.md"
    kept.mkdir(parents=True, exist_ok=True)
    always = [row.name for row in ROWS if not getattr(row, "if_named", False)]
    asked = [row for row in ROWS if row.name in (arguments.row or always)]
    ran = [run(row, arguments.rounds, kept) for row in asked]
    results.write(page, kept)
    print(f"written: {page} and {kept}")
    return 0 if all(ran) else 1


def run(row, rounds, kept):
    """Measures a row and keeps what came of it, or why nothing did beside what was kept before."""
    file = kept / f"{row.name}.json"
    try:
        with tempfile.TemporaryDirectory() as work:
            told = {
                "row": row.name,
                "measured": time.strftime("%Y-%m-%d", time.gmtime()),
                "command": f"scripts/compare {rounds} {row.name}",
            } | measured(row, rounds, Path(work))
    # Whatever went wrong, the rows that follow shall run.
    except Exception as error:
        if not isinstance(error, Unavailable):
            traceback.print_exc()
        told = json.loads(file.read_text()) if file.exists() else {"row": row.name}
        told["could_not_run"] = " ".join(str(error).split()) or repr(error)
    # Lists of figures on one line each.
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    file.write_text(re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text))
    for line in results.lines(row, told):
        print(line, flush=True)
    return "could_not_run" not in told


if __name__ == "__main__":
    sys.exit(main())
