"""Hazard: the load generator's files are only readable to itself."""

import json
import subprocess

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

import gateway as gateways

HIGHEST_NS = 600 * 10**9


def test_the_reference_reader_finds_the_figures_of_the_report(gateway, tmp_path):
    started = gateway("--dev")
    report, log = tmp_path / "run.json", tmp_path / "run.hlog"
    command = [gateways.load_generator(), "echo", "--url", started.url("/echo"), "--connections", "10"]
    command += ["--rate", "1000", "--warm-up", "200ms", "--duration", "2500ms", "--quiet"]
    command += ["--json", report, "--hlog", log]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    # 3: the machine was too busy for the generator. The files are complete all the same.
    assert done.returncode in (0, 3) and done.stderr == "", done
    figures = json.loads(report.read_text())

    whole = {tag: HdrHistogram(1, HIGHEST_NS, 3) for tag in ("due", "sent")}
    rows = []
    reader = HistogramLogReader(str(log), HdrHistogram(1, HIGHEST_NS, 3))
    while interval := reader.get_next_interval_histogram():
        whole[interval.get_tag()].add(interval)
        start_ms = interval.get_start_time_stamp() - reader.start_time_sec * 1000
        rows.append((interval.get_tag(), round(start_ms), interval.get_total_count()))
    seconds = [(0, 1000), (1000, 1000), (2000, 500)]
    assert rows == [(tag, *second) for second in seconds for tag in ("due", "sent")]

    for tag, name in (("due", "latency_us"), ("sent", "latency_raw_us")):
        told = figures[name]
        assert whole[tag].get_total_count() == told["count"] == 2500
        for percentile, key in ((50, "p50"), (90, "p90"), (99, "p99"), (99.9, "p999")):
            read = whole[tag].get_value_at_percentile(percentile)
            assert whole[tag].values_are_equivalent(read, round(told[key] * 1000)), key
