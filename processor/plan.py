"""The values of planning a batch: the decoded batch, the plan, and the builder in between."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.domain.event import Fact, ScoreEvent
from processor.domain.outcome import Outcome, Reject
from processor.domain.record import Record, RecordPosition
from processor.enrich.prepared_score import PreparedScore
from processor.state.format.fact import time_of
from processor.state.format.score_history import DeliveredScore, Novelty
from processor.state.person import (
    Person,
    PersonKey,
    PersonLimits,
    novelty,
    scores_since,
    with_fact,
    with_score,
)
from processor.telemetry.catalogue import LATE_EVENTS, RECORDS_FILTERED, SCORES_BEFORE_LATE_EVENT
from processor.telemetry.metric_types import CounterMetric, Counts, Labels

_NO_PERSON = Person()
_SEVERITY = {outcome: severity for severity, outcome in enumerate(Outcome)}
"""Of several outcomes a record has the most severe: one bad score dead-letters the record."""


class Rejected(NamedTuple):
    """A record to dead-letter, and what is wrong with it or with one score in it."""

    record: Record
    reject: Reject


class PlacedFact(NamedTuple):
    """A fact, with the index of its record in the batch and the key of its person."""

    record_index: int
    key: PersonKey
    fact: Fact


class PlacedScore(NamedTuple):
    """A prepared score, with the index of its record in the batch and the key of its person.

    `position` is that of its record, or of the record that a repartition message was made of.
    """

    record_index: int
    key: PersonKey
    prepared: PreparedScore
    position: RecordPosition


class IndexedScore(NamedTuple):
    """A placed score, with its index among the scores of the decoded batch."""

    score_index: int
    score: PlacedScore


class DraftEvent(NamedTuple):
    """The content of a score event, before validation and encoding."""

    score_index: int
    score: PlacedScore
    event: dict[str, Any]


class DecodedBatch(msgspec.Struct):
    """The facts and prepared scores of a batch's records, by person, and what was rejected.

    `outcomes` has an entry a record, FILTERED until something more severe is known.
    """

    records: Sequence[Record]
    outcomes: list[Outcome]
    facts: list[PlacedFact] = []
    scores: list[PlacedScore] = []
    rejected: list[Rejected] = []
    counts: Counts = msgspec.field(default_factory=Counts)
    repartition_messages: list[tuple[bytes, bytes]] = []

    @property
    def keys(self) -> set[PersonKey]:
        """Return the keys of all persons whose state the plan needs."""
        return {one.key for one in self.facts} | {one.key for one in self.scores}

    def reject(self, record_index: int, reject: Reject) -> None:
        """Reject a record, or one score in it."""
        self.rejected.append(Rejected(self.records[record_index], reject))
        self.outcomes[record_index] = Outcome.DEAD_LETTERED


class Plan(msgspec.Struct):
    """What to do for one batch; `outcomes` has an entry a record, messages are key and value."""

    events: list[ScoreEvent]
    rejected: list[Rejected]
    changes: dict[PersonKey, Person]
    outcomes: list[Outcome]
    counts: Counts
    ages: list[float]
    """Seconds from the newest fact in a context to its score date."""
    repartition_messages: list[tuple[bytes, bytes]]


class PlanBuilder:
    """Builds the plan of a batch, and keeps the persons as the batch has changed them so far.

    The decoded batch stays unchanged, so that a second plan can be built from it.
    """

    def __init__(
        self, decoded: DecodedBatch, persons: Mapping[PersonKey, Person], limits: PersonLimits
    ) -> None:
        self.decoded = decoded
        self.drafts: list[DraftEvent] = []
        self.bodies: list[bytes] = []
        self.counts = Counts(decoded.counts)
        self._outcomes = list(decoded.outcomes)
        self._rejected = list(decoded.rejected)
        self._changes: dict[PersonKey, Person] = {}
        self._ages: list[float] = []
        self._persons = persons
        self._limits = limits

    def person(self, key: PersonKey) -> Person:
        """Return a person with the changes of this batch so far."""
        return self._changes.get(key) or self._persons.get(key, _NO_PERSON)

    def add_facts(self, facts: Sequence[PlacedFact]) -> None:
        """Add the facts of experience events to their persons."""
        for record_index, key, fact in facts:
            person = self.person(key)
            changed = with_fact(person, fact, self._limits)
            self._raise_outcome(record_index, Outcome.STORED)
            if changed is person:
                continue
            self._changes[key] = changed
            if person.scores and (later := scores_since(person, fact.time_ms)):
                self.counts.add(LATE_EVENTS)
                self.counts.add(SCORES_BEFORE_LATE_EVENT, count=later)

    def novelty(self, score: PlacedScore) -> Novelty:
        """Return whether a score was delivered before, and whether with the same content."""
        prepared = score.prepared
        return novelty(
            self.person(score.key),
            prepared.route_model.model_key,
            scored_at_ms=prepared.score.scored_at_ms,
            event_id=prepared.id,
            digest=prepared.digest,
            position=score.position,
        )

    def ends_without_event(self, indexed: IndexedScore, invalid: Mapping[int, Reject]) -> bool:
        """End a score that is invalid, or that a rule of its route filters; False for others."""
        score_index, (record_index, _, prepared, _) = indexed
        if score_index in invalid:
            self.reject(record_index, invalid[score_index])
            return True
        if prepared.late and prepared.rule is not None:
            self.end(record_index, Outcome.FILTERED, RECORDS_FILTERED, prepared.rule)
            return True
        return False

    def add_event(self, score_index: int, score: PlacedScore, event: dict[str, Any]) -> None:
        """Add the event of a score."""
        self.drafts.append(DraftEvent(score_index, score, event))
        # A score that is sent outweighs a filtered one of the same record, whatever the order.
        if self._outcomes[score.record_index] is Outcome.FILTERED:
            self._outcomes[score.record_index] = Outcome.DELIVERED
        else:
            self._raise_outcome(score.record_index, Outcome.DELIVERED)

    def add_delivered(self, score: PlacedScore) -> None:
        """Add a score that will be delivered to its person, for later scores to look back on."""
        person, prepared = self.person(score.key), score.prepared
        at_ms = prepared.score.scored_at_ms
        content = (prepared.digest, prepared.score.score, prepared.bucket)
        delivered = DeliveredScore(at_ms, prepared.id, *content, score.position)
        self._changes[score.key] = with_score(person, prepared.model_key, delivered, self._limits)
        if person.facts and (end := bisect_right(person.facts, at_ms, key=time_of)):
            self._ages.append((at_ms - time_of(person.facts[end - 1])) / 1000)

    def reject(self, record_index: int, reject: Reject) -> None:
        """Reject a record, or one score in it."""
        self._rejected.append(Rejected(self.decoded.records[record_index], reject))
        self._raise_outcome(record_index, Outcome.DEAD_LETTERED)

    def end(
        self,
        record_index: int,
        outcome: Outcome,
        metric: CounterMetric[*Labels],
        *labels: *Labels,
    ) -> None:
        """End a score that is not sent, and count it."""
        self._raise_outcome(record_index, outcome)
        self.counts.add(metric, *labels)

    def build(self) -> Plan:
        """Return the plan, once `bodies` has the encoded events."""
        events = [
            _score_event(draft, body, self.decoded.records[draft.score.record_index])
            for draft, body in zip(self.drafts, self.bodies, strict=True)
        ]
        return Plan(
            events,
            self._rejected,
            self._changes,
            self._outcomes,
            self.counts,
            self._ages,
            self.decoded.repartition_messages,
        )

    def _raise_outcome(self, record_index: int, outcome: Outcome) -> None:
        if _SEVERITY[outcome] > _SEVERITY[self._outcomes[record_index]]:
            self._outcomes[record_index] = outcome


def rounds(scores: Sequence[PlacedScore]) -> list[list[IndexedScore]]:
    """Split scores into rounds that have one score a person and model each; mostly one round.

    No score of a round is the previous score of another, so that each step can be taken for all
    scores of a round at once.
    """
    keys = [(score.key, score.prepared.route_model.model_key) for score in scores]
    if len(set(keys)) == len(keys):
        return [[IndexedScore(index, score) for index, score in enumerate(scores)]]
    seen: Counter[tuple[PersonKey, str]] = Counter()
    split: list[list[IndexedScore]] = []
    for index, (score, key) in enumerate(zip(scores, keys, strict=True)):
        number = seen[key]
        seen[key] = number + 1
        if number == len(split):
            split.append([])
        split[number].append(IndexedScore(index, score))
    return split


def _score_event(draft: DraftEvent, body: bytes, record: Record) -> ScoreEvent:
    prepared = draft.score.prepared
    return ScoreEvent(
        prepared.id,
        prepared.route_model.name,
        prepared.route_model.model_key,
        body,
        prepared.score.scored_at_ms,
        prepared.digest,
        prepared.person,
        record,
        prepared.score.score,
        draft.score.position,
    )
