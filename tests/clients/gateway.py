"""One gateway process under test: started on free ports, watched, always ended by its own pid."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"

# Longest wait for a process to serve or to end. Far above what it takes, so that a busy machine
# does not fail a test; a hang still does.
PATIENCE_S = 10


def binary():
    """The program under test: TIDEGATE_BIN, or what `cargo build` made."""
    path = Path(os.environ.get("TIDEGATE_BIN", REPOSITORY / "target/debug/tidegate")).absolute()
    assert path.is_file(), f"{path} does not exist: cargo build, or set TIDEGATE_BIN"
    return path


def load_generator():
    """The program: TIDEGATE_BENCH_BIN, or what lies beside the gateway under test."""
    beside = binary().with_name("tidegate-bench")
    path = Path(os.environ.get("TIDEGATE_BENCH_BIN", beside))
    assert path.is_file(), f"{path} does not exist: cargo build --workspace, or set TIDEGATE_BENCH_BIN"
    return path


# Settings with which channels take what is no JSON.
ANY_BYTES = ["--set", "channel.publication_format=binary"]


class Lines:
    """The lines of a stream, with the time each came, collected by a thread."""

    def __init__(self, stream):
        self._stream = stream
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self):
        for line in self._stream:
            with self._changed:
                self._lines.append((time.monotonic(), line.rstrip("\n")))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_end(self, timeout=PATIENCE_S):
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, timeout), self.text()

    def timed(self, pattern=""):
        """Pairs of arrival time and line, of the lines that match."""
        with self._changed:
            return [(at, line) for at, line in self._lines if re.search(pattern, line)]

    def text(self):
        return "\n".join(line for _, line in self.timed())

    def wait_for(self, pattern, count=1, timeout=PATIENCE_S):
        """The first `count` lines that match, or None once the stream has ended without them."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [line for _, line in self._lines if re.search(pattern, line)]
                if len(found) >= count:
                    return found[:count]
                if self._ended:
                    return None
                left = deadline - time.monotonic()
                assert left > 0, f"{len(found)} of {count} lines with {pattern!r} in: {self.text()}"
                self._changed.wait(left)


class Metrics:
    """One reading of /metrics."""

    def __init__(self, text):
        self.text = text
        self._samples = defaultdict(dict)
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.M):
            key = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))
            self._samples[name][key] = float(value)

    def total(self, name):
        """The sum over all labels."""
        assert name in self._samples, f"no metric {name}"
        return sum(self._samples[name].values())

    def by(self, name, *labels):
        """Values by the values of these labels, which name each sample."""
        assert name in self._samples, f"no metric {name}"
        keys = {tuple(dict(key)[label] for label in labels): key for key in self._samples[name]}
        return {key: self._samples[name][full] for key, full in keys.items()}

    def by_shard(self, name):
        """Values by shard number; the sum over other labels."""
        assert name in self._samples, f"no metric {name}"
        shards = defaultdict(float)
        for key, value in self._samples[name].items():
            shards[int(dict(key)["shard"])] += value
        return dict(shards)


class Gateway:
    """A running gateway. `clients` and `admin` are the addresses it printed."""

    def __init__(self, *arguments, wrapper=(), environment=None, program=None):
        """Starts it. `wrapper` is a command line to put in front, which must end in an exec.
        Call `wait_until_serving` before anything else."""
        command = [*wrapper, str(program or binary()), "serve", *arguments]
        for flag, value in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")]:
            if flag not in arguments:
                command += [flag, value]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TIDEGATE_")}
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=kept | (environment or {}),
        )
        self.expected_exit = 0
        self._logs_json = "log.format=json" in arguments
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)

    @property
    def pid(self):
        return self.process.pid

    def wait_until_serving(self):
        if self._logs_json:
            serving = self.stderr.wait_for('"message":"serving"')
            assert serving, f"it ended before it served:\n{self.stderr.text()}"
            line = json.loads(serving[0])
            self.admin, self.clients = line["admin"], line["clients"]
            return self
        metrics = self.stdout.wait_for(r"^  metrics ")
        assert metrics, f"it ended before it served:\n{self.stderr.text()}"
        self.admin = re.search(r"http://([^/]+)/", metrics[0])[1]
        (clients,) = self.stdout.wait_for(r"^  clients ")
        self.clients = re.search(r"ws://(\S+)", clients)[1]
        return self

    def url(self, path):
        return f"ws://{self.clients}{path}"

    def metrics(self):
        return Metrics(self.get("/metrics")[1])

    def wait_for_metrics(self, condition, timeout=PATIENCE_S):
        """The first reading for which `condition` holds."""
        deadline = time.monotonic() + timeout
        while True:
            metrics = self.metrics()
            if condition(metrics):
                return metrics
            assert time.monotonic() < deadline, f"not in time:\n{shown(metrics.text)}"
            # Between two readings, what is waited for is the end of the process.
            try:
                self.process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"it ended:\n{self.stderr.text()}")

    def wait_for_connections(self, count):
        return self.wait_for_metrics(lambda m: m.total("tidegate_connections") == count)

    def get(self, path, address=None, headers=None):
        """Status and text of a GET on the admin port, or on another address."""
        return ask(address or self.admin, "GET", path, None, headers or {})

    def post(self, path, body, headers=None):
        """Status and text of a POST on the admin port."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | (headers or {})
        return ask(self.admin, "POST", path, data, headers)

    def publish(self, channel, data, headers=None):
        """Publishes JSON and gives the offset."""
        body = {"channel": channel, "data": data}
        status, text = self.post("/api/publish", body, headers)
        assert status == 200, f"{status} {text}"
        return json.loads(text)["result"]["offset"]

    def owned_channels(self):
        """A channel of each of two shards, by shard. Which shard owns a channel is random for each
        process, so this publishes to some and looks who numbered it."""
        channels = {}
        numbered = lambda: self.metrics().by_shard("tidegate_publications_total")
        before = numbered()
        for n in range(64):
            self.publish(f"c{n}", "whose?")
            after = numbered()
            channels.setdefault(next(s for s in after if after[s] > before[s]), f"c{n}")
            if len(channels) == 2:
                return channels
            before = after
        raise AssertionError("64 channels are all owned by one shard")

    def threads(self):
        """Thread ids by name."""
        tasks = Path(f"/proc/{self.pid}/task")
        return {(task / "comm").read_text().strip(): int(task.name) for task in tasks.iterdir()}

    def cpu_seconds(self):
        """User and system time the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE_S):
        """The exit code, once all that it said was read."""
        code = self.process.wait(timeout)
        self.stdout.wait_for_end()
        self.stderr.wait_for_end()
        return code

    def kill(self):
        """Ends it at once; the exit code then is of no interest."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.expected_exit = -signal.SIGKILL

    def stop(self):
        """Ends it as an operator would, and checks that it ended well."""
        if self.process.poll() is None:
            self.signal()
            try:
                self.wait(PATIENCE_S + 15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"SIGTERM did not end it:\n{self.stderr.text()}") from None
        code = self.process.returncode
        said = self.stderr.text()
        assert code == self.expected_exit, f"exit code {code}:\n{said}"
        assert "broken invariant" not in said and "panicked" not in said, said


def shown(metrics):
    """The samples that say something."""
    lines = metrics.splitlines()
    return "\n".join(line for line in lines if line[0] != "#" and not line.endswith(" 0"))


def ask(address, method, path, body, headers):
    """Status and text of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
