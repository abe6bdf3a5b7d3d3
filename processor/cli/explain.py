"""`explain`: what the processor does with one record, step by step, personal data redacted.

The context is computed from the current state of the person in the changelog, as of the score date.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.json import JSON
from rich.markup import escape

from processor.app import build_enricher, build_reader
from processor.cli.command import DEFAULT, FromFile, Reveal, await_schemas
from processor.cli.state import REDACTED, values_in_changelog
from processor.domain.clock import Clock, SystemClock, rfc3339
from processor.domain.errors import RejectError, SettingsError, UnavailableError
from processor.domain.event import DecodedRecord, ExperienceEvent, Fact
from processor.domain.outcome import ContextStatus, Reject
from processor.domain.record import Record
from processor.domain.score import Identity, Score
from processor.enrich.prepared_score import PreparedScore
from processor.kafka.topic_reader import fetch_record
from processor.settings import Settings
from processor.state.format.person import decode
from processor.state.person import Person

_CHANGELOG_SECONDS = 20.0
"""Time limit for reading the state of the person."""
_PERSONAL = frozenset(
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
"""Fields of a context that are redacted."""
_SIGNS = {True: "[green]✓[/green]", False: "[red]✗[/red]"}


def explain(
    position: Annotated[
        str | None, typer.Argument(help="topic/partition/offset of a record.")
    ] = None,
    settings: FromFile = DEFAULT,
    *,
    file: Annotated[
        Path | None, typer.Option(exists=True, help="Explain the content of a file instead.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="With --file: the input topic; by default the scores topic.")
    ] = None,
    reveal: Reveal = False,
) -> int:
    """Show what the processor does with one record, step by step; exits with 0 if it is valid."""
    if (position is None) == (file is None):
        raise SettingsError(["Give either the position of a record, or a file with --file."])
    clock = SystemClock()
    if file is not None:
        record = _record_of_file(settings, file, topic, clock.now_ms())
    else:
        topic, partition, offset = _parse_position(position or "")
        found = fetch_record(settings.kafka, topic, partition, offset, clock=clock)
        if found is None:
            Console().print(f"There is no record at {position}.")
            return 1
        record = found
    return _Explanation(settings, clock, reveal=reveal, from_kafka=file is None).of(record)


def _record_of_file(settings: Settings, file: Path, topic: str | None, now_ms: int) -> Record:
    inputs = [each for each in (settings.kafka.scores, settings.kafka.events) if each]
    repartition_topic = settings.join.repartition_topic
    if topic not in {None, repartition_topic} and not any(
        each.takes(str(topic)) for each in inputs
    ):
        raise SettingsError([f"{topic!r} is not an input topic."])
    return Record(
        topic=topic or settings.kafka.scores.topics[0],
        partition=0,
        offset=0,
        timestamp_ms=now_ms,
        key=None,
        value=file.read_bytes(),
    )


class _Explanation:
    """Prints the result of every step for one record; without partition if not `from_kafka`."""

    def __init__(self, settings: Settings, clock: Clock, *, reveal: bool, from_kafka: bool) -> None:
        self._settings = settings
        self._reader = build_reader(settings, clock)
        self._enricher = build_enricher(settings)
        self._tenant = "_" + settings.event.tenant.removeprefix("_")
        self._clock = clock
        self._reveal = reveal
        self._from_kafka = from_kafka
        self._persons: dict[bytes, Person | None] = {}
        self._console = Console()

    def of(self, record: Record) -> int:
        """Return 0 if nothing is rejected, else 1."""
        size = "no value" if record.value is None else f"{len(record.value):,} bytes"
        self._print(True, "record", f"{record.origin}, {size}, {rfc3339(record.timestamp_ms)}")
        try:
            await_schemas(self._reader, [record], self._clock)
            decoded = self._reader.read(record)
        except RejectError as error:
            return self._rejected(error.reject)
        return self._decoded(record, decoded)

    def _decoded(self, record: Record, decoded: DecodedRecord) -> int:
        if decoded.rule is not None:
            self._print(True, "filtered", f"by the rule {decoded.rule}: nothing is sent")
        if decoded.event is not None:
            self._print(True, "read", f"an experience event: {self._event(decoded.event)}")
        if decoded.needs_repartition:
            self._print(True, "repartitioned", "to the partition of its person, with its scores")
        if decoded.repartitioned is not None and decoded.repartitioned.fact is not None:
            fact = self._fact(decoded.repartitioned.fact)
            self._print(True, "read", f"a repartitioned fact: {fact}")
        partition = None if decoded.needs_repartition else record.partition
        codes = [self._rejected(reject) for reject in decoded.rejects]
        codes += [self._score(score, partition) for score in decoded.scores]
        return max(codes, default=0)

    def _score(self, score: Score, partition: int | None) -> int:
        """Explain one score, whose person is on this partition, or on any if it is None."""
        identities = ", ".join(map(self._identity, score.identities)) or "no identity"
        content = f"{score.score:g} by {score.model!r} at {rfc3339(score.scored_at_ms)}"
        self._print(True, "read", f"a score: {content}, for {identities}")
        try:
            prepared = self._enricher.prepare(score, self._clock.now_ms())
            self._prepared(prepared)
        except RejectError as error:
            return self._rejected(error.reject)
        if prepared.person not in self._persons:
            self._persons[prepared.person] = self._state(prepared.person, partition)
        person = self._persons[prepared.person]
        status = ContextStatus.OFF if person is None else ContextStatus.COMPLETE
        event = self._enricher.event(prepared, person, status)
        (body,) = self._enricher.encode([(prepared, event)])
        if isinstance(body, Reject):
            return self._rejected(body)
        self._print(True, "valid", f"{len(body):,} bytes, against the schema of its route")
        self._print_event(json.loads(body), has_state=person is not None)
        return 0

    def _state(self, key: bytes, partition: int | None) -> Person | None:
        """Return the person in the changelog; None, after printing the cause, if it is not read."""
        if not self._settings.join.enabled:
            return None
        if not self._from_kafka:
            self._print(False, "context", "is omitted: a file has no partition to look up")
            return None
        try:
            found = values_in_changelog(
                self._settings, key, partition=partition, seconds=_CHANGELOG_SECONDS
            )
        except (UnavailableError, SettingsError) as error:
            self._print(False, "context", f"is omitted: {' '.join(str(error).split())}")
            return None
        persons = [person for value in found.values() if (person := decode(value)) is not None]
        self._print(True, "context", "as of the score date, from the current changelog")
        return persons[0] if persons else Person()

    def _print_event(self, event: dict[str, Any], *, has_state: bool) -> None:
        context = event[self._tenant].get("scoreContext", {})
        if self._settings.join.enabled and not has_state:
            context.pop("contextStatus", None)
        if not self._reveal:
            event["identityMap"] = {
                namespace: [{**item, "id": _redacted(item["id"])} for item in items]
                for namespace, items in event["identityMap"].items()
            }
            context.update(dict.fromkeys(context.keys() & _PERSONAL, REDACTED))
        self._console.print(JSON(json.dumps(event)))

    def _prepared(self, prepared: PreparedScore) -> None:
        route = prepared.route
        path = f"{self._tenant}.CustomerAI.{prepared.model_key}"
        self._print(True, "routed", f"to {route}, as {path}")
        omitted = f"; omitted: {', '.join(prepared.left_out)}" if prepared.left_out else ""
        primary = self._identity(prepared.primary)
        self._print(True, "identified", f"{primary} is primary{omitted}")
        late = ", before today: a backfill for CJA" if prepared.late else ""
        self._print(True, "named", f"_id {prepared.id}, bucket {prepared.bucket}{late}")
        if prepared.rule is not None:
            self._print(True, "filtered", f"by the rule {prepared.rule}: it would not be sent")

    def _rejected(self, reject: Reject) -> int:
        pointer = f" at {reject.pointer}" if reject.pointer else ""
        self._print(False, reject.stage, f"{reject.reason}{pointer}: {reject.detail}")
        return 1

    def _event(self, event: ExperienceEvent) -> str:
        return f"{self._fact(event.fact)}, of {', '.join(map(self._identity, event.identities))}"

    def _fact(self, fact: Fact) -> str:
        kinds = ", ".join(fact.kinds) or "no standard type"
        return f"{fact.type or 'untyped'} ({kinds}) at {rfc3339(fact.time_ms)}"

    def _identity(self, identity: Identity) -> str:
        return f"{identity.namespace} {identity.id if self._reveal else _redacted(identity.id)}"

    def _print(self, good: bool, step: str, sentence: str) -> None:  # noqa: FBT001  a tick or a cross
        self._console.print(f"{_SIGNS[good]} [bold]{step:<10}[/bold] {escape(sentence)}")


def _parse_position(text: str) -> tuple[str, int, int]:
    try:
        topic, partition, offset = text.rsplit("/", 2)
        return topic, int(partition), int(offset)
    except ValueError as error:
        sentence = f"{text!r} is not a position; write topic/partition/offset."
        raise SettingsError([sentence]) from error


def _redacted(text: str) -> str:
    """Return length and hash of a text: equal texts can be recognised."""
    return f"({len(text)} characters, sha256 {sha256(text.encode()).hexdigest()[:8]})"
