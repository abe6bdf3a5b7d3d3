"""`python -m tests.bench.pieces`: microseconds per record of each part of the planner.

One process, no Kafka, no HTTP: what is left is the cost of the planner itself. The fastest of five
rounds over 2,000 records is shown.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from timeit import repeat
from typing import Any

from processor.app import build_planner, build_reader
from processor.cli.command import await_schemas
from processor.domain.clock import SystemClock
from processor.domain.record import Record
from processor.settings import Settings
from processor.state.format.person import decode, encode
from processor.state.person import Person, PersonKey
from tests.bench import load
from tests.support.framed import SCORE_ROW, framed_avro
from tests.support.recipe import recipe
from tests.support.registry import FakeRegistry

_COUNT = 2_000
_ROUNDS = 5
_SCORES, _EVENTS = "pieces-scores", "pieces-events"


def _main() -> None:
    clock = SystemClock()
    now_ms = clock.now_ms()
    rows = list(load.joined(_SCORES, _EVENTS, _COUNT, now_ms))
    with tempfile.TemporaryDirectory() as folder, FakeRegistry() as registry:
        number = registry.register("pieces", SCORE_ROW)
        reader = build_reader(_settings(Path(folder), registry.url), clock)
        planner = build_planner(_settings(Path(folder), registry.url), reader)
        scores = _records(rows, _SCORES, load.encode_json)
        events = _records(rows, _EVENTS, load.encode_json)[:_COUNT]
        avro = _records(rows, _SCORES, framed_avro(number))
        await_schemas(reader, avro, SystemClock())
        known = planner.plan(planner.decode(events, now_ms), {}).changes
        persons = list(known.values())
        values = [encode(person) for person in persons]

        def planned(
            records: Sequence[Record], known: Mapping[PersonKey, Person]
        ) -> Callable[[], object]:
            return lambda: planner.plan(planner.decode(records, now_ms), known)

        _show("read a JSON score", lambda: list(map(reader.read, scores)))
        _show("read an Avro score", lambda: list(map(reader.read, avro)))
        _show("read an experience event", lambda: list(map(reader.read, events)))
        _show("JSON score to event, nothing known", planned(scores, {}))
        _show("JSON score to event, joined", planned(scores, known))
        _show("experience event into state", planned(events, known))
        _show("person to bytes", lambda: list(map(encode, persons)), len(persons))
        _show("bytes to person", lambda: list(map(decode, values)), len(values))


def _show(piece: str, work: Callable[[], object], count: int = _COUNT) -> None:
    best = min(repeat(work, number=1, repeat=_ROUNDS))
    sys.stdout.write(f"{piece:36} {best / count * 1e6:6.2f} µs\n")


def _records(
    rows: Sequence[load.Row], topic: str, encode: Callable[[dict[str, Any]], bytes]
) -> list[Record]:
    return [
        Record(topic, 0, place, 0, row.key.encode(), encode(row.content))
        for place, row in enumerate(rows)
        if row.topic == topic
    ]


def _settings(folder: Path, registry: str) -> Settings:
    return Settings.model_validate(
        recipe(
            "127.0.0.1:9092",
            "http://127.0.0.1:1/collection",
            folder,
            kafka={"scores": {"topics": [_SCORES]}, "events": {"topics": [_EVENTS]}},
            registry={"url": registry},
        )
    )


if __name__ == "__main__":
    _main()
