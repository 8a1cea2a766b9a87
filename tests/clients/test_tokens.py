"""Tokens, made by `tidegate token` and shown by Centrifuge's own SDK."""

import gateway as gateways

SECRET = "2b7e151628aed2a6abf7158809cf4f3c"


def test_the_sdk_shows_and_refreshes_tokens(gateway, node):
    secret = {"TIDEGATE_TOKEN_HMAC_SECRET": SECRET}
    users = ["subscribe", "publish", "presence"]
    settings = [f"channel.allow_{what}=user" for what in users] + ["channel.presence=true"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    started = gateway("--shards", "2", *flags, "--log-level", "debug", environment=secret)
    node("tokens.mjs", gateways.binary(), f"ws://{started.clients}", environment=secret)
    metrics = started.metrics()
    assert metrics.total("tidegate_tokens_checked_total") > 10
    assert metrics.total("tidegate_tokens_expired_total") == 1
    assert metrics.total("tidegate_tokens_waiting") == 0
    log = started.stderr.text()
    # No token, and no secret, stands in the log.
    assert "eyJ" not in log and SECRET not in log
