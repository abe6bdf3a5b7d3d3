"""A recorded history: stored input records, and what the processor is expected to make of them.

The inputs are stored as files, so generators may change. `python -m tests.support.recorded --write`
writes the expectations anew; do so only where a change of output is intended. Everything the tests
of the recording need of the processor is imported here and nowhere else.
"""

import argparse
import base64
import hashlib
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.dead_letter.dead_letter import DeadLetter, headers
from processor.domain.record import Record
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.plan import Plan
from processor.planner import Planner
from processor.sink.request import Envelope
from processor.state.format.person import decode, encode
from processor.state.format.store import ChangelogPosition, Origin
from processor.state.local_store import LocalStore, StoreFolder
from tests.support.clock import ManualClock
from tests.support.paths import ROOT
from tests.support.settings import MINIMAL, settings_with

Json = dict[str, Any]

FOLDER = ROOT / "tests" / "laws" / "recorded"
COUNTS = FOLDER / "counts.json"
"""Counts of outcomes and metrics, apart from the words that name them."""

_FACTS = "customer-ai-facts"
_NOW_MS = 1_785_758_400_000
_PARTITIONS = 3
_SHORT = 120


def _route(name: str, model: str, **more: object) -> Json:
    return {**MINIMAL["routes"][0], "name": name, "models": [model], **more}


_SETTINGS: Json = {
    "routes/1": _route(
        "churn", "Likelihood to churn", model_key="Churn", prediction="Churn risk", dataset_id="d-2"
    ),
    "routes/2": _route("purchase", "*purchase*", dataset_id="d-3"),
    "reading/max_record_bytes": 3_000,
    "event/max_event_bytes": 1_800,
    "join/cohort": "_acme.loyalty.tier",
    "join/own_types": {"redemption": "_acme.redemptions"},
    "join/success_types": ["purchases", "order", "redemption"],
    "join/max_person_bytes": 16_384,
}


class Run(NamedTuple):
    """Settings beside `_SETTINGS`, input files, and the kinds of items that are kept in full.

    Of other kinds only one digest is kept for each poll.
    """

    settings: Json
    inputs: tuple[str, ...]
    full: frozenset[str] = frozenset()


def _formats(scores: Json, events: Json) -> Json:
    return {
        "kafka/scores": {"topics": ["customer-ai-scores"], **scores},
        "kafka/events": {"topics": ["experience-events"], **events},
    }


_PLAIN_EVENTS = {"format": "avro-plain", "schema_name": "experience-event.v1"}
_ALL = ("history", "special")

RUNS: dict[str, Run] = {
    "joined": Run({}, _ALL, frozenset({"event", "dead letter", "request", "stored"})),
    "repartitioned": Run(
        {"join/repartition_topic": _FACTS}, (*_ALL, "messages"), frozenset({"message"})
    ),
    "repartitioned by namespace": Run(
        {"join/repartition_topic": _FACTS, "join/repartition_key": "namespaced"}, ("special",)
    ),
    "bounded": Run(
        {
            "join/corrections": "suppress",
            "join/max_facts": 3,
            "join/max_scores": 2,
            "join/lookback_days": 10,
            "routes/1/late": "drop",
            "reading/zone": "Europe/Berlin",
            "reading/max_factors": 2,
            "event/max_event_bytes": 1_024,
            "event/bucket_bounds": [40, 60],
            "event/event_type": "acme.scored",
            "identity/order": ["CRMID", "Email", "ECID"],
        },
        _ALL,
    ),
    "not joined": Run({"join/enabled": False}, ("special",)),
    "json": Run(_formats({"format": "json"}, {"format": "json"}), ("special",)),
    "avro": Run(_formats({"format": "avro"}, {"format": "avro"}), ("special",)),
    "json schema": Run(
        _formats({"format": "json-schema"}, {"format": "json-schema"}), ("special",)
    ),
    "plain avro, flat": Run(
        _formats(
            {"format": "avro-plain", "schema_name": "customer-ai-score-flat.v1"}, _PLAIN_EVENTS
        ),
        ("plain_avro_flat",),
    ),
    "plain avro, profile": Run(
        _formats(
            {"format": "avro-plain", "schema_name": "customer-ai-score-profile.v1"}, _PLAIN_EVENTS
        ),
        ("plain_avro_profile",),
    ),
}


class Words:
    """Numbers for the words of outcomes and metrics, one for each use of a word.

    Counts are stored by number, so that a word is renamed by changing one line of the list.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._numbers: dict[tuple[str, int, str], int] = {}

    def numbered(self, counts: Mapping[tuple[str, ...], int]) -> dict[str, int]:
        """Return counts by the numbers of their words."""
        return {self._key(key): counts[key] for key in sorted(counts)}

    def _key(self, words: tuple[str, ...]) -> str:
        return " ".join(
            str(self._number(words[0], index, word)) for index, word in enumerate(words)
        )

    def _number(self, first: str, index: int, word: str) -> int:
        use = (first, index, word)
        if use not in self._numbers:
            self._numbers[use] = len(self.words)
            self.words.append(word)
        return self._numbers[use]


class _Processor:
    """The real steps from records to bytes, with the real store, and no broker or inlet."""

    def __init__(self, settings: Json, folder: Path) -> None:
        self.settings = settings_with(deepcopy({**_SETTINGS, **settings}))
        reader = InputReader(self.settings, schema_source(self.settings.registry, ManualClock()))
        enricher = Enricher(self.settings, compile_schemas(self.settings))
        self._planner = Planner(reader, enricher, self.settings.join)
        origin = Origin(self.settings.join.changelog_topic, "cluster", "topic-id")
        self.store = LocalStore(
            StoreFolder(folder), origin, partitions=_PARTITIONS, max_bytes=8 << 20
        )
        self._written: Counter[int] = Counter()

    def plan(self, records: list[Record], timed_out: frozenset[int]) -> Plan:
        now_ms = max(record.timestamp_ms for record in records)
        self._planner.fetch_schemas(records)
        decoded = self._planner.decode(records, now_ms)
        found = self.store.read(decoded.keys)
        known = {key: person for key, value in found.items() if (person := decode(value))}
        return self._planner.plan(decoded, known, timed_out)

    def store_changes(self, plan: Plan) -> dict[tuple[int, bytes], bytes]:
        """Store the changed persons; return what the changelog gets, in its order."""
        values = {key: encode(person) for key, person in plan.changes.items()}
        changes: dict[int, dict[bytes, bytes | None]] = {}
        for (partition, key), value in values.items():
            changes.setdefault(partition, {})[key] = value
        self._written.update(partition for partition, _ in values)
        positions = {one: ChangelogPosition(self._written[one], _NOW_MS) for one in changes}
        self.store.write(changes, positions)
        return values


def inputs(names: Iterable[str]) -> Iterator[tuple[list[Record], frozenset[int]]]:
    """Yield polls of stored records, and the indexes of those whose wait timed out."""
    lines = (line for name in names for line in loaded(FOLDER / "input" / f"{name}.jsonl"))
    for _, poll in groupby(lines, key=lambda line: line["poll"]):
        polled = list(poll)
        yield (
            [_record(line) for line in polled],
            frozenset(index for index, line in enumerate(polled) if line.get("timed_out")),
        )


def run(name: str, folder: Path) -> tuple[list[Json], Counter[tuple[str, ...]]]:
    """Process the inputs of a run; return its items in order, and its counts.

    What is sent to the repartition topic is read as the next poll.
    """
    settings, files, full = RUNS[name]
    processor = _Processor(settings, folder)
    items: list[Json] = []
    counts: Counter[tuple[str, ...]] = Counter()
    events: list[Any] = []
    for records, timed_out in inputs(files):
        waiting = [(records, timed_out)]
        while waiting:
            polled = waiting.pop()
            plan = processor.plan(*polled)
            made = list(_items(plan, processor.store_changes(plan)))
            items += _folded(made, full, len(items))
            counts.update(_counts(polled[0], plan))
            events += plan.events
            if messages := _messages(plan, len(items)):
                waiting.append((messages, frozenset()))
    made = [*_requests(processor, events), *_stored(processor, folder)]
    return [*items, *_folded(made, full, len(items))], counts


def loaded(path: Path) -> list[Json]:
    """Return the lines of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def expected(name: str) -> list[Json]:
    """Return the recorded items of a run."""
    return loaded(_expected_path(name))


def expected_counts(name: str) -> dict[tuple[str, ...], int]:
    """Return the recorded counts of a run, with the words as they are called by now."""
    stored = json.loads(COUNTS.read_text("utf-8"))
    words = stored["words"]
    return {
        tuple(words[int(number)] for number in key.split()): count
        for key, count in stored["runs"][name].items()
    }


def rewritten(value: bytes) -> bytes | None:
    """Return the stored bytes of a person as they are after reading and writing."""
    person = decode(value)
    return None if person is None else encode(person)


def raw(value: str | Json | None) -> bytes | None:
    """Return the bytes that are recorded as text, or in base64."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode()


def _record(line: Json) -> Record:
    return Record(
        line["topic"],
        line["partition"],
        line["offset"],
        line["timestamp_ms"],
        raw(line["key"]),
        raw(line["value"]),
        tuple((name, raw(value)) for name, value in line.get("headers", [])),
    )


def _items(plan: Plan, values: Mapping[tuple[int, bytes], bytes]) -> Iterator[Json]:
    for index, event in enumerate(plan.events):
        yield {
            "kind": "event",
            "record": _origin(event.record),
            "id": event.id,
            "route": event.route,
            "model": event.model,
            "scored_at_ms": event.scored_at_ms,
            "score": event.score,
            "digest": event.digest.hex(),
            "person": _short(event.person),
            "body": _short(event.body) if index else _text(event.body),
        }
    for record, reject in plan.rejected:
        yield {
            "kind": "dead letter",
            "key": _short(record.key),
            "value": _short(record.value),
            "headers": [
                [name, _short(value)]
                for name, value in headers(DeadLetter(record, reject, _NOW_MS, "recorded"))
            ],
        }
    for key, value in plan.repartition_messages:
        yield {"kind": "message", "key": _short(key), "value": _short(value)}
    for (partition, key), value in values.items():
        where = {"partition": partition, "key": _short(key)}
        yield {"kind": "state", **where, "value": _short(value)}
    yield {"kind": "ages", "seconds": plan.ages}


def _messages(plan: Plan, offset: int) -> list[Record]:
    return [
        Record(_FACTS, zlib.crc32(key) % _PARTITIONS, offset + index, _NOW_MS, key, value)
        for index, (key, value) in enumerate(plan.repartition_messages)
    ]


def _counts(records: Iterable[Record], plan: Plan) -> Counter[tuple[str, ...]]:
    counts = Counter(
        {(metric.name, *map(str, labels)): count for metric, labels, count in plan.counts}
    )
    for record, outcome in zip(records, plan.outcomes, strict=True):
        counts["outcome", record.topic, str(outcome)] += 1
    return counts


def _requests(processor: _Processor, events: Iterable[Any]) -> Iterator[Json]:
    """Yield the request body that holds all events of a route."""
    for route in processor.settings.routes:
        if mine := [event for event in events if event.route == route.name]:
            body = Envelope(processor.settings.aep, route).wrap(mine)
            yield {"kind": "request", "route": route.name, "body": _short(body)}


def _stored(processor: _Processor, folder: Path) -> Iterator[Json]:
    """Yield what the files of the store hold, read without the store."""
    processor.store.close()
    with lmdb.open(str(folder), max_dbs=16, readonly=True, lock=False) as files:
        with files.begin() as names:
            found = [name for name, _ in names.cursor()]
        for name in found:
            database = files.open_db(name, create=False)
            with files.begin(database) as entries:
                for key, value in entries.cursor():
                    where = {"database": _text(name), "key": _short(key)}
                    yield {"kind": "stored", **where, "value": _text(value)}


def _folded(items: list[Json], full: frozenset[str], start: int) -> Iterator[Json]:
    """Yield items of full kinds as they are, and one digest for each run of others."""
    for kind, alike in groupby(items, key=lambda item: str(item["kind"])):
        group = list(alike)
        if kind in full:
            yield from group
        else:
            digest = hashlib.sha256(json.dumps(group).encode()).hexdigest()
            yield {"kind": kind, "from": start, "count": len(group), "sha256": digest}


def _origin(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _text(value: bytes | None) -> str | Json | None:
    """Return bytes as text where they are UTF-8, else in base64."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value or b"").decode()}


def _short(value: bytes | None) -> str | Json | None:
    """Return bytes as `_text` does, or their digest where they are many."""
    if value is None or len(value) <= _SHORT:
        return _text(value)
    return {"sha256": hashlib.sha256(value).hexdigest()}


def _expected_path(name: str) -> Path:
    return FOLDER / "expected" / f"{name.replace(',', '').replace(' ', '_')}.jsonl"


def _write() -> None:
    words, runs = Words(), {}
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            items, counts = run(name, Path(folder))
        lines = [json.dumps(item, separators=(",", ":")) + "\n" for item in items]
        _expected_path(name).write_text("".join(lines), encoding="utf-8")
        runs[name] = words.numbered(counts)
    text = json.dumps({"words": words.words, "runs": runs}, indent=1)
    COUNTS.write_text(text + "\n", encoding="utf-8")


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write what is expected of the recorded history.")
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    _write()


if __name__ == "__main__":
    _main()
