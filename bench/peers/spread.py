"""What several rounds say together, and whether that lies within a goal: as `tidegate-bench limit`
has it (`bench/src/limit/spread.rs`, `decision.rs`)."""

import statistics
from dataclasses import dataclass


@dataclass
class Spread:
    """The median of some values, and the interval that holds the true one in 95 of 100 cases,
    whatever the distribution; None for fewer than six values, which cannot say so."""

    median: float
    interval95: list | None

    @classmethod
    def of(cls, values):
        ordered = sorted(values)
        cut = outside(len(ordered))
        interval = None if cut is None else [ordered[cut], ordered[-1 - cut]]
        return cls(statistics.median(ordered), interval)

    def verdict(self, goal, at_least=False):
        """Of a goal that is an upper bound, or a lower one: met or missed if the whole interval
        is."""
        if goal is None:
            return "no goal"
        if not self.interval95:
            return "not decided"
        kept = [goal <= end if at_least else end <= goal for end in self.interval95]
        return "met" if all(kept) else "not decided" if any(kept) else "missed"


def outside(count):
    """How many of `count` sorted values may be cut off at either end so that the rest still spans
    the true median with 95 %: each value lies below it as a coin falls."""
    chance = tails = 2 * 0.5**count
    cut = None
    for heads in range(count // 2):
        if tails > 0.05:
            break
        cut = heads
        chance *= (count - heads) / (heads + 1)
        tails += chance
    return cut
