"""What a batch says, and what is to be done about it: a survey, a draft, a plan."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.domain.event import Fact, ScoreEvent
from processor.domain.outcome import Outcome, Reject
from processor.domain.record import Record
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

_NO_PERSON = Person()
_SEVERITY = {outcome: severity for severity, outcome in enumerate(Outcome)}
"""A record with several ends has the gravest: one bad score makes a dead letter of the record."""

Counts = Counter[tuple[str, ...]]
"""Increments for the metrics, by metric name and label values."""


class Rejected(NamedTuple):
    """One record, or one score in it, bound for the dead-letter topic."""

    record: Record
    reject: Reject


class PlacedFact(NamedTuple):
    """A fact, with the place of its record and the key of its person."""

    at: int
    key: PersonKey
    fact: Fact


class PlacedScore(NamedTuple):
    """A prepared score, with the place of its record and the key of its person."""

    at: int
    key: PersonKey
    prepared: PreparedScore


class IndexedScore(NamedTuple):
    """A prepared score and its place in the survey."""

    place: int
    scored: PlacedScore


class DraftEvent(NamedTuple):
    """An event to be, and its place among the scores of the survey."""

    place: int
    scored: PlacedScore
    event: dict[str, Any]


class DecodedBatch(msgspec.Struct):
    """What a batch's records say, and about whom; `fates` has a first guess for each record."""

    records: Sequence[Record]
    outcomes: list[Outcome]
    facts: list[PlacedFact] = []
    scores: list[PlacedScore] = []
    rejected: list[Rejected] = []
    counts: Counts = msgspec.field(default_factory=Counter)
    repartition_messages: list[tuple[bytes, bytes]] = []

    @property
    def keys(self) -> set[PersonKey]:
        """Return the keys of all persons concerned."""
        return {one.key for one in self.facts} | {one.key for one in self.scores}

    def reject(self, at: int, reject: Reject) -> None:
        """Note that a record, or one score in it, is bad."""
        self.rejected.append(Rejected(self.records[at], reject))
        self.outcomes[at] = Outcome.DEAD_LETTERED


class Plan(msgspec.Struct):
    """What is to be done for one batch; `fates` has an entry a record, `forwards` key and value."""

    events: list[ScoreEvent]
    rejected: list[Rejected]
    changes: dict[PersonKey, Person]
    outcomes: list[Outcome]
    counts: Counts
    ages: list[float]
    """Seconds from the newest fact in a context to its score date."""
    repartition_messages: list[tuple[bytes, bytes]]


class PlanBuilder:
    """A plan in the making: the persons as this batch leaves them, so far.

    Leaves the survey as it is, so that a second draft can be made of it.
    """

    def __init__(
        self, decoded: DecodedBatch, known: Mapping[PersonKey, Person], limits: PersonLimits
    ) -> None:
        self.decoded = decoded
        self.drafted: list[DraftEvent] = []
        self.bodies: list[bytes] = []
        self.counts: Counts = Counter(decoded.counts)
        self._outcomes = list(decoded.outcomes)
        self._rejected = list(decoded.rejected)
        self._changes: dict[PersonKey, Person] = {}
        self._ages: list[float] = []
        self._known = known
        self._limits = limits

    def person(self, key: PersonKey) -> Person:
        """Return a person as known by now."""
        return self._changes.get(key) or self._known.get(key, _NO_PERSON)

    def add_facts(self, facts: Sequence[PlacedFact]) -> None:
        """Take in what experience events say."""
        for at, key, fact in facts:
            person = self.person(key)
            grown = with_fact(person, fact, self._limits)
            self._raise(at, Outcome.STORED)
            if grown is person:
                continue
            self._changes[key] = grown
            if person.scores and (overtaken := scores_since(person, fact.time_ms)):
                self.counts["late_events",] += 1
                self.counts["scores_before_late_event",] += overtaken

    def standing(self, scored: PlacedScore) -> Novelty:
        """Return whether a score was delivered before, and with this content."""
        prepared = scored.prepared
        return novelty(
            self.person(scored.key),
            prepared.destination.model_key,
            scored_at_ms=prepared.score.scored_at_ms,
            event_id=prepared.id,
            digest=prepared.digest,
        )

    def ended(self, one: IndexedScore, refused: Mapping[int, Reject]) -> bool:
        """Return whether a score ended before it was drafted: refused, or filtered by a rule."""
        place, (at, _, prepared) = one
        if place in refused:
            self.reject(at, refused[place])
            return True
        if prepared.late and prepared.rule is not None:
            self.end(at, Outcome.FILTERED, "records_filtered", prepared.rule)
            return True
        return False

    def add(self, place: int, scored: PlacedScore, event: dict[str, Any]) -> None:
        """PlanBuilder an event for a score."""
        self.drafted.append(DraftEvent(place, scored, event))
        if self._outcomes[scored.at] is Outcome.FILTERED:
            self._outcomes[scored.at] = Outcome.DELIVERED
        else:
            self._raise(scored.at, Outcome.DELIVERED)

    def mark_delivered(self, scored: PlacedScore) -> None:
        """Let later scores, and later batches, know of this one."""
        person, prepared = self.person(scored.key), scored.prepared
        at_ms, record = prepared.score.scored_at_ms, self.decoded.records[scored.at]
        content = (prepared.digest, prepared.score.score, prepared.bucket)
        delivered = DeliveredScore(at_ms, prepared.id, *content, record.timestamp_ms)
        self._changes[scored.key] = with_score(person, prepared.model_key, delivered, self._limits)
        if person.facts and (newer := bisect_right(person.facts, at_ms, key=time_of)):
            self._ages.append((at_ms - time_of(person.facts[newer - 1])) / 1000)

    def reject(self, at: int, reject: Reject) -> None:
        """Note that an event can not be sent."""
        self._rejected.append(Rejected(self.decoded.records[at], reject))
        self._raise(at, Outcome.DEAD_LETTERED)

    def end(self, at: int, outcome: Outcome, *count: str) -> None:
        """Note how a score ended that is not sent."""
        self._raise(at, outcome)
        self.counts[count] += 1

    def plan(self) -> Plan:
        """Return what was drafted, once it is encoded."""
        events = [
            _event(one, body, self.decoded.records[one.scored.at])
            for one, body in zip(self.drafted, self.bodies, strict=True)
        ]
        counts, ages, repartition_messages = (
            self.counts,
            self._ages,
            self.decoded.repartition_messages,
        )
        return Plan(
            events,
            self._rejected,
            self._changes,
            self._outcomes,
            counts,
            ages,
            repartition_messages,
        )

    def _raise(self, at: int, outcome: Outcome) -> None:
        if _SEVERITY[outcome] > _SEVERITY[self._outcomes[at]]:
            self._outcomes[at] = outcome


def rounds(scores: Sequence[PlacedScore]) -> list[list[IndexedScore]]:
    """Split scores so that no turn has two of one person by one model; mostly there is one turn.

    Within a turn no score is another's previous one, so each step can be taken for all of them.
    """
    whose = [(one.key, one.prepared.destination.model_key) for one in scores]
    if len(set(whose)) == len(whose):
        return [[IndexedScore(place, scored) for place, scored in enumerate(scores)]]
    seen: Counter[tuple[PersonKey, str]] = Counter()
    split: list[list[IndexedScore]] = []
    for place, (scored, one) in enumerate(zip(scores, whose, strict=True)):
        turn = seen[one]
        seen[one] = turn + 1
        if turn == len(split):
            split.append([])
        split[turn].append(IndexedScore(place, scored))
    return split


def _event(drafted: DraftEvent, body: bytes, record: Record) -> ScoreEvent:
    prepared = drafted.scored.prepared
    return ScoreEvent(
        prepared.id,
        prepared.destination.name,
        prepared.destination.model_key,
        body,
        prepared.score.scored_at_ms,
        prepared.digest,
        prepared.person,
        record,
        prepared.score.score,
    )
