"""What the systems read: believable records, in their topics before the clock starts."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Producer

from processor.domain.clock import rfc3339

MODEL = "PropensityToBuy"
_FACTORS = (
    "Counts of webVisit in last 30 days",
    "Days since last webVisit WebPage https://www_example_com/en-us/home",
    "Number of distinct WebPage webVisit in last 30 days",
    "Counts of productViews in last 7 days",
)
_IMPORTANCE = ("high", "medium", "low")
_DAY_MS = 86_400_000
_BLOCK = 1_000
_EVENTS_PER_SCORE = 2


class Row(NamedTuple):
    """One record to be: its topic, its key, its content."""

    topic: str
    key: str
    content: dict[str, Any]


def scores(topic: str, count: int, now_ms: int) -> Iterator[Row]:
    """Yield score records of as many persons, dated today or some weeks ago."""
    dice = Random(7)  # noqa: S311  repeatable, not secret
    for number in range(count):
        yield _score(topic, _ecid(number), now_ms - dice.randrange(28) * _DAY_MS, dice)


def fresh(topic: str, numbers: range, now_ms: int) -> Iterator[Row]:
    """Yield score records of the persons with these numbers, dated now."""
    dice = Random(numbers.start)  # noqa: S311  repeatable, not secret
    for number in numbers:
        yield _score(topic, _ecid(number), now_ms, dice)


def joined(score_topic: str, event_topic: str, count: int, now_ms: int) -> Iterator[Row]:
    """Yield two experience events and then one score for each person, in blocks of persons."""
    dice = Random(8)  # noqa: S311  repeatable, not secret
    for start in range(0, count, _BLOCK):
        people = [_ecid(number) for number in range(start, min(start + _BLOCK, count))]
        for ecid in people * _EVENTS_PER_SCORE:
            yield _event(event_topic, ecid, now_ms - dice.randrange(1, 40) * _DAY_MS, dice)
        for ecid in people:
            yield _score(score_topic, ecid, now_ms - 1_000, dice)


def fill(bootstrap: str, rows: Iterator[Row], encode: Callable[[dict[str, Any]], bytes]) -> None:
    """Write rows to their topics, partitioned by key as Java producers do."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "queue.buffering.max.messages": 500_000,
            "log_level": 0,
        }
    )
    for row in rows:
        value = encode(row.content)
        while True:
            try:
                producer.produce(row.topic, value, row.key)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0, "the broker did not take the load"


encode_json = msgspec.json.Encoder().encode


def _score(topic: str, ecid: str, at_ms: int, dice: Random) -> Row:
    value = round(dice.random() * 100, 2)
    factors = [
        {
            "code": code,
            "value": str(dice.randrange(40)),
            "importance": _IMPORTANCE[dice.randrange(3)],
        }
        for code in dice.sample(_FACTORS, 3)
    ]
    model = {
        "score": value,
        "probability": round(value / 130, 4),
        "percentileScore": max(1, int(value)),
        "modelType": "Conversion",
        "scoreDate": rfc3339(at_ms),
        "influentialFactors": factors,
    }
    content = {
        "identityMap": {"ECID": [{"id": ecid, "primary": True}]},
        "_acme": {"CustomerAI": {MODEL: model}},
    }
    return Row(topic, ecid, content)


def _event(topic: str, ecid: str, at_ms: int, dice: Random) -> Row:
    content = {
        "_id": f"{dice.getrandbits(96):024x}",
        "timestamp": rfc3339(at_ms),
        "eventType": "web.webpagedetails.pageViews",
        "identityMap": {"ECID": [{"id": ecid, "primary": True}]},
        "web": {
            "webPageDetails": {
                "name": f"page {dice.randrange(500)}",
                "URL": "https://www.example.com/en-us/home",
                "pageViews": {"value": 1},
            }
        },
        "marketing": {"trackingCode": f"spring-{dice.randrange(9)}"},
    }
    return Row(topic, ecid, content)


def _ecid(number: int) -> str:
    return f"{number * 7_919 + 1:038d}"
