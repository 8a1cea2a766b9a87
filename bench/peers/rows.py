"""What is compared with what, under which load, and how much it may cost; what the gateway costs
alone."""

from dataclasses import dataclass


@dataclass
class Load:
    """What the load generator is asked for; `kind` is what is asked of the server."""

    kind: str
    arguments: list
    rate: int

    @property
    def name(self):
        return f"{self.rate:,}/s" if self.rate else "saturated"


def at_a_rate_and_saturated(kind, rate, command, connections, size=64):
    arguments = [command, "--connections", connections, "--size", size]
    return [Load(kind, arguments, rate), Load(kind, arguments, 0)]


ECHO = at_a_rate_and_saturated("echo", 50_000, "echo", 100)
BIG_ECHO = at_a_rate_and_saturated("echo", 200, "echo", 4, 1 << 20)
FANOUT_SUBSCRIBERS = 1000
FANOUT = at_a_rate_and_saturated("fanout", 100, "fanout", FANOUT_SUBSCRIBERS)
CENTRIFUGE = at_a_rate_and_saturated("centrifuge", 100, "fanout", FANOUT_SUBSCRIBERS)


@dataclass
class Row:
    """Two servers in turn; the figure is what the first one costs to what the second one does."""

    name: str
    title: str
    against: str
    loads: list
    goal: float | None = None
    subject: str = "tidegate"


@dataclass
class LimitRow:
    """The gateway and the bare ring loop of `tidegate-bench limit`."""

    name: str
    title: str
    kind: str
    arguments: list
    goal: float = 1.05
    subject: str = "tidegate"
    against: str = "limit"


@dataclass
class MemoryRow:
    """User memory of an idle connection, for each server that echoes."""

    name: str
    title: str
    servers: list


@dataclass
class Goal:
    """What bounds a figure, from above or else from below, and how it is written; one without a
    unit is a ratio. `once`: it is of a single run, so it has no interval and is judged by itself."""

    bound: float | None
    unit: str | None = None
    form: str = ".3f"
    at_least: bool = False
    once: bool = False

    def __str__(self):
        if self.bound is None:
            return ""
        return f"at {'least' if self.at_least else 'most'} {self.write(self.bound, 'g')}"

    def write(self, value, form=None):
        return f"{value:,{form or self.form}}{self.unit or ''}"


@dataclass
class AloneRow:
    """Figures of the gateway by itself, each by its name with its goal. One that takes too long is
    measured only if it is named."""

    name: str
    title: str
    goals: dict
    if_named: bool = False


ROWS = [
    LimitRow("limit-echo", "echo / bare ring loop", "echo", []),
    LimitRow(
        "limit-fanout", "fan-out / bare ring", "fanout", ["--sockets", "1000", "--rate", "100"]
    ),
    Row("echo-gorilla", "echo / gorilla/websocket", "gorilla", ECHO, 0.6),
    Row("echo-bun", "echo / uWebSockets (bun)", "bun", ECHO),
    Row("echo-ws", "echo / Node ws", "ws", ECHO),
    Row("echo-fastwebsockets", "echo / fastwebsockets on tokio", "fastwebsockets", ECHO),
    Row("echo-tungstenite", "echo / tokio-tungstenite", "tungstenite", ECHO),
    Row("big-bun", "echo of 1 MiB / uWebSockets (bun)", "bun", BIG_ECHO),
    Row("library", "echo of the library / `/echo`", "tidegate", ECHO, subject="library"),
    Row("fanout-gorilla", "fan-out / gorilla/websocket", "gorilla", FANOUT, 0.5),
    # Without a queue for each: cheaper, and one who does not read delays all.
    Row("fanout-gorilla-direct", "fan-out / gorilla, unqueued", "gorilla-direct", FANOUT),
    Row("fanout-bun", "fan-out / uWebSockets (bun)", "bun", FANOUT, 0.8),
    Row("fanout-ws", "fan-out / Node ws", "ws", FANOUT),
    Row("centrifuge-centrifugo", "Centrifuge JSON / Centrifugo", "centrifugo", CENTRIFUGE, 0.4),
    # The library that Centrifugo is made of, in a server of ours.
    Row("centrifuge-library", "Centrifuge JSON / centrifuge (Go)", "centrifuge", CENTRIFUGE),
    MemoryRow(
        "memory",
        "idle connection on `/echo`",
        ["tidegate", "library", "bun", "ws", "gorilla", "fastwebsockets", "tungstenite"],
    ),
    AloneRow(
        "pending",
        "fan-out, several publications pending / bare ring",
        {"ratio": Goal(1.0)},
    ),
    AloneRow(
        "idle-memory",
        "idle connection, user memory",
        {
            path: Goal(bound, " bytes", ".0f")
            for path, bound in [("/echo", 256), ("/raw", 512), ("/connection/websocket", 1024)]
        },
    ),
    AloneRow(
        "idle-cpu",
        "CPU a second of an idle connection with 25 s pings",
        {"CPU": Goal(3, " µs", ".2f")},
    ),
    AloneRow(
        "last-receiver",
        "publish to the last of 10,000 subscribers, 10/s",
        {"p99": Goal(100, " ms", ".1f"), "not delivered": Goal(0, "", ".0f")},
    ),
    AloneRow(
        "overload",
        "fan-out, 120 % of the maximum offered / the maximum",
        {"ratio": Goal(0.9, at_least=True)},
    ),
    AloneRow(
        "large",
        "unmask and validate / memcpy, bandwidth",
        {
            f"{size}, {text}": Goal(0.5, at_least=True)
            for size in ("64 KiB", "1 MiB")
            for text in ("ASCII", "mixed text")
        }
        | {f"{size}, ASCII, whole decoder": Goal(None) for size in ("64 KiB", "1 MiB")},
    ),
    AloneRow(
        "scale",
        "connections, both ends on this machine",
        {
            "held": Goal(250_000, "", ".0f", at_least=True, once=True),
            "R² of memory on a straight line": Goal(0.999, "", ".5f", at_least=True, once=True),
            "not reached by a publication": Goal(0, "", ".0f", once=True),
        },
        if_named=True,
    ),
    AloneRow(
        "plan",
        "100,000 connections, off what `plan` predicts",
        {
            name: Goal(bound, " %", ".1f", once=True)
            for name, bound in [
                ("memory", 10),
                ("user memory", None),
                ("kernel memory", None),
                ("CPU, idle", 10),
                ("CPU under load", 10),
            ]
        },
        if_named=True,
    ),
]
