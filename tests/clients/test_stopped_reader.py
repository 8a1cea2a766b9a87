"""Hazard: a client that stops reading holds memory, hurts others, or is left with half a frame."""

import stopped_reader


def assert_counted(gateway):
    metrics = gateway.wait_for_connections(0)
    assert metrics.total("tidegate_slow_consumers_disconnected_total") == 1
    assert metrics.total("tidegate_outbox_dropped_bytes_total") > 0
    assert metrics.total("tidegate_outbox_bytes") == 0
    closed = 'tidegate_connections_closed_total{shard="%d",code="3008"} 1'
    assert sum(closed % shard in metrics.text for shard in range(2)) == 1


def test_a_stopped_reader_that_resumes_reads_whole_frames_and_close_3008(gateway):
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX)
    stopped_reader.resumes_in_time(started)
    assert_counted(started)


def test_a_stopped_reader_that_stays_away_is_reset(gateway):
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX)
    stopped_reader.resumes_too_late(started)
    assert_counted(started)
