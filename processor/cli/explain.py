"""`explain`: one record, step by step through the pure middle, with persons blotted out.

The context is what the changelog says by now of the person, as of the score.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.markup import escape

from processor.app import build_enricher, build_reader
from processor.cli.state import in_changelog
from processor.domain.clock import Clock, SystemClock, rfc3339
from processor.domain.errors import RejectError, SettingsError, UnavailableError
from processor.domain.event import DecodedRecord, ExperienceEvent, Fact
from processor.domain.outcome import ContextStatus, Reject
from processor.domain.record import Record
from processor.domain.score import Identity, Score
from processor.enrich.enricher import Enricher
from processor.enrich.prepared_score import PreparedScore
from processor.kafka.topic_reader import fetch_record
from processor.settings import Settings
from processor.state.format.person import decode
from processor.state.person import Person

_CHANGELOG_SECONDS = 20.0
"""How long reading what is known of the person may take."""
_SECRETS = frozenset(
    {
        "audiences",
        "cohort",
        "lastCampaign",
        "lastOrderId",
        "lastPageName",
        "previousScore",
        "scoreChange",
    }
)
"""What a context repeats of a person's past that is shown on request only."""
_MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]"}


def explain_place(settings: Settings, place: str, *, reveal: bool) -> int:
    """Explain the record at `topic/partition/offset`; returns 0 where it would be delivered."""
    topic, partition, offset = _place(place)
    clock = SystemClock()
    record = fetch_record(settings.kafka, topic, partition, offset, clock=clock)
    if record is None:
        Console().print(f"There is no record at {place}.")
        return 1
    return _Explanation(settings, clock, reveal=reveal, placed=True).of(record)


def explain_file(settings: Settings, file: Path, topic: str | None, *, reveal: bool) -> int:
    """Explain a file as if it were a record of `topic`, the scores topic where not said."""
    inputs = [each for each in (settings.kafka.scores, settings.kafka.events) if each]
    own = settings.join.repartition_topic
    if topic not in {None, own} and not any(each.takes(str(topic)) for each in inputs):
        raise SettingsError([f"{topic!r} is none of the input topics."])
    record = Record(
        topic=topic or settings.kafka.scores.topics[0],
        partition=0,
        offset=0,
        timestamp_ms=SystemClock().now_ms(),
        key=None,
        value=file.read_bytes(),
    )
    return _Explanation(settings, SystemClock(), reveal=reveal, placed=False).of(record)


class _Explanation:
    """Prints what every step makes of one record; a file is not `placed`: it has no partition."""

    def __init__(self, settings: Settings, clock: Clock, *, reveal: bool, placed: bool) -> None:
        self._settings = settings
        self._reader = build_reader(settings, clock)
        self._enricher: Enricher = build_enricher(settings)
        self._tenant = "_" + settings.event.tenant.removeprefix("_")
        self._clock = clock
        self._reveal = reveal
        self._placed = placed
        self._persons: dict[bytes, Person | None] = {}
        self._console = Console()

    def of(self, record: Record) -> int:
        """Return 0 where nothing is rejected, else 1."""
        size = "no value" if record.value is None else f"{len(record.value):,} bytes"
        self._say(True, "record", f"{record.origin}, {size}, {rfc3339(record.timestamp_ms)}")
        try:
            self._reader.fetch_schemas([record])
            reading = self._reader.read(record)
        except RejectError as error:
            return self._rejected(error.reject)
        return self._read(record, reading)

    def _read(self, record: Record, reading: DecodedRecord) -> int:
        if reading.rule is not None:
            self._say(True, "filtered", f"by the rule {reading.rule}: nothing is sent")
        if reading.event is not None:
            self._say(True, "read", f"an experience event: {self._event(reading.event)}")
        if reading.needs_repartition:
            self._say(True, "repartitioned", "to the partition of its person; scores in it as well")
        if reading.repartitioned is not None and reading.repartitioned.fact is not None:
            self._say(True, "read", f"a forwarded fact: {self._fact(reading.repartitioned.fact)}")
        worst = max((self._rejected(reject) for reject in reading.rejects), default=0)
        home = None if reading.needs_repartition else record.partition
        codes = [self._score(score, home) for score in reading.scores]
        return max(worst, *codes, 0) if codes else worst

    def _score(self, score: Score, home: int | None) -> int:
        """Explain one score, whose person lives on partition `home`, or on any where it is None."""
        whom = ", ".join(map(self._identity, score.identities)) or "nobody"
        said = f"{score.score:g} by {score.model!r} at {rfc3339(score.scored_at_ms)}"
        self._say(True, "read", f"a score: {said}, for {whom}")
        try:
            prepared = self._enricher.prepare(score, self._clock.now_ms())
            self._prepared(prepared)
        except RejectError as error:
            return self._rejected(error.reject)
        if prepared.person not in self._persons:
            self._persons[prepared.person] = self._known(prepared.person, home)
        known = self._persons[prepared.person]
        status = ContextStatus.OFF if known is None else ContextStatus.COMPLETE
        event = self._enricher.event(prepared, known, status)
        (body,) = self._enricher.encode([(prepared, event)])
        if isinstance(body, Reject):
            return self._rejected(body)
        self._say(True, "valid", f"{len(body):,} bytes, against the schema of its route")
        self._show(json.loads(body), looked_up=known is not None)
        return 0

    def _known(self, key: bytes, home: int | None) -> Person | None:
        """Return what the changelog says of a person; None, and a line that says why, where not."""
        if not self._settings.join.enabled:
            return None
        if not self._placed:
            sentence = "is left out: a file has no partition, so nothing is looked up"
            self._say(False, "context", sentence)
            return None
        try:
            found = in_changelog(self._settings, key, partition=home, seconds=_CHANGELOG_SECONDS)
        except (UnavailableError, SettingsError) as error:
            self._say(False, "context", f"is left out: {' '.join(str(error).split())}")
            return None
        persons = [person for wire in found.values() if (person := decode(wire)) is not None]
        self._say(True, "context", "as of the score, from what the changelog says by now")
        return persons[0] if persons else Person()

    def _show(self, event: dict[str, Any], *, looked_up: bool) -> None:
        context = event[self._tenant].get("scoreContext", {})
        if self._settings.join.enabled and not looked_up:
            context.pop("contextStatus", None)
        if not self._reveal:
            event["identityMap"] = _blotted(event["identityMap"])
            context.update(dict.fromkeys(context.keys() & _SECRETS, "..."))
        self._console.print(JSON(json.dumps(event)))

    def _prepared(self, prepared: PreparedScore) -> None:
        route = prepared.route
        self._say(True, "routed", f"to {route}, as {self._tenant}.CustomerAI.{prepared.model_key}")
        primary = self._identity(prepared.primary)
        left = f"; left out: {', '.join(prepared.left_out)}" if prepared.left_out else ""
        self._say(True, "identified", f"{primary} is primary{left}")
        late = ", before today: CJA queues it as a backfill" if prepared.late else ""
        self._say(True, "named", f"_id {prepared.id}, bucket {prepared.bucket}{late}")
        if prepared.rule is not None:
            self._say(True, "filtered", f"by the rule {prepared.rule}: it would not be sent")

    def _rejected(self, reject: Reject) -> int:
        where = f" at {reject.pointer}" if reject.pointer else ""
        self._say(False, reject.stage, f"{reject.reason}{where}: {reject.detail}")
        return 1

    def _event(self, event: ExperienceEvent) -> str:
        return f"{self._fact(event.fact)}, of {', '.join(map(self._identity, event.identities))}"

    def _fact(self, fact: Fact) -> str:
        kinds = ", ".join(fact.kinds) or "of no standard type"
        return f"{fact.type or 'untyped'} ({kinds}) at {rfc3339(fact.time_ms)}"

    def _identity(self, identity: Identity) -> str:
        return f"{identity.namespace} {identity.id if self._reveal else _blot(identity.id)}"

    def _say(self, good: bool, step: str, sentence: str) -> None:  # noqa: FBT001  a tick or a cross
        self._console.print(f"{_MARKS[good]} [bold]{step:<10}[/bold] {escape(sentence)}")


def _place(text: str) -> tuple[str, int, int]:
    try:
        topic, partition, offset = text.rsplit("/", 2)
        return topic, int(partition), int(offset)
    except ValueError as error:
        sentence = f"{text!r} is no place; write topic/partition/offset."
        raise SettingsError([sentence]) from error


def _blotted(identity_map: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        namespace: [{**item, "id": _blot(item["id"])} for item in items]
        for namespace, items in identity_map.items()
    }


def _blot(text: str) -> str:
    return f"({len(text)} characters, {sha256(text.encode()).hexdigest()[:8]})"
