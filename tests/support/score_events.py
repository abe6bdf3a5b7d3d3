"""Score events for tests of delivery."""

import json

from processor.domain.event import ScoreEvent
from processor.domain.record import Record


def score_event(
    name: str, *, route: str = "upgrade", size: int = 0, at_ms: int = 1, partition: int = 0
) -> ScoreEvent:
    """Return an event called `name` whose body has at least `size` bytes."""
    entity = {"_id": name, "timestamp": "2026-11-01T00:00:00Z", "eventType": "customerAI.scored"}
    body = json.dumps(entity | {"pad": ""}, separators=(",", ":"))
    body = body.replace('"pad":""', f'"pad":"{"x" * (size - len(body))}"')
    record = Record("customer-ai-scores", partition, 7, at_ms, b"k", b"v")
    return ScoreEvent(name, route, "Churn", body.encode(), at_ms, b"digest", b"person", record)


def score_events(count: int, *, route: str = "upgrade", size: int = 0) -> list[ScoreEvent]:
    """Return so many events, called e0, e1 and so on."""
    return [score_event(f"e{i}", route=route, size=size) for i in range(count)]
