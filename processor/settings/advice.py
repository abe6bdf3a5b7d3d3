"""What the settings may say and yet deserves a second look; `check` prints it."""

from collections.abc import Iterator

from processor.settings.settings import Settings

_GRACE_SECONDS = 30.0
_LANE_REQUESTS, _LANE_MESSAGES = 1_000, 10_000


def advice(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each thing that is allowed and yet doubtful."""
    stop, limits = settings.stop, settings.aep.limits
    total = stop.drain_seconds + stop.commit_seconds + stop.close_seconds
    if total > _GRACE_SECONDS:
        yield f"A stop may take {total:g} s: give the container a grace period above that."
    if settings.kafka.group_instance_id and settings.kafka.session_timeout_seconds < total:
        yield "A static member that stops for longer than its session loses its partitions."
    if limits.requests_per_second > _LANE_REQUESTS or limits.messages_per_second > _LANE_MESSAGES:
        yield "aep.limits goes beyond what one inlet takes (1,000 requests, 10,000 messages a s)."
    if settings.aep.auth is None:
        yield "aep.auth is not set: the inlets must take events without a token."
    if settings.telemetry.host not in {"127.0.0.1", "::1", "localhost"}:
        yield "telemetry.host is open to the network: metrics have no access control of their own."
