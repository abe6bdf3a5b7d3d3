"""What a batch says, and what is to be done about it: a survey, a draft, a plan."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.enrich.enricher import Prepared
from processor.event import Fact, ScoreEvent
from processor.kept import time_of
from processor.outcome import Fate, Reject
from processor.person import (
    DeliveredScore,
    Limits,
    Novelty,
    Person,
    novelty,
    scores_since,
    with_fact,
    with_score,
)
from processor.ports import Key
from processor.record import Record

__all__ = [
    "Draft",
    "Drafted",
    "Placed",
    "Plan",
    "Rejected",
    "Scored",
    "Seen",
    "Survey",
    "turns",
]

_NOBODY = Person()
_MERIT = {fate: merit for merit, fate in enumerate(Fate)}
"""A record with several ends has the gravest: one bad score makes a dead letter of the record."""

Counts = Counter[tuple[str, ...]]
"""Increments for the metrics, by metric name and label values."""


class Rejected(NamedTuple):
    """One record, or one score in it, bound for the dead-letter topic."""

    record: Record
    reject: Reject


class Seen(NamedTuple):
    """A fact, with the place of its record and the key of its person."""

    at: int
    key: Key
    fact: Fact


class Scored(NamedTuple):
    """A prepared score, with the place of its record and the key of its person."""

    at: int
    key: Key
    prepared: Prepared


class Placed(NamedTuple):
    """A prepared score and its place in the survey."""

    place: int
    scored: Scored


class Drafted(NamedTuple):
    """An event to be, and its place among the scores of the survey."""

    place: int
    scored: Scored
    event: dict[str, Any]


class Survey(msgspec.Struct):
    """What a batch's records say, and about whom; `fates` has a first guess for each record."""

    records: Sequence[Record]
    fates: list[Fate]
    facts: list[Seen] = []
    scores: list[Scored] = []
    rejected: list[Rejected] = []
    counts: Counts = msgspec.field(default_factory=Counter)
    forwards: list[tuple[bytes, bytes]] = []

    @property
    def keys(self) -> set[Key]:
        """Return the keys of all persons concerned."""
        return {one.key for one in self.facts} | {one.key for one in self.scores}

    def reject(self, at: int, reject: Reject) -> None:
        """Note that a record, or one score in it, is bad."""
        self.rejected.append(Rejected(self.records[at], reject))
        self.fates[at] = Fate.DEAD


class Plan(msgspec.Struct):
    """What is to be done for one batch; `fates` has an entry a record, `forwards` key and value."""

    events: list[ScoreEvent]
    rejected: list[Rejected]
    changes: dict[Key, Person]
    fates: list[Fate]
    counts: Counts
    ages: list[float]
    """Seconds from the newest fact in a context to its score date."""
    forwards: list[tuple[bytes, bytes]]


class Draft:
    """A plan in the making: the persons as this batch leaves them, so far.

    Leaves the survey as it is, so that a second draft can be made of it.
    """

    def __init__(self, survey: Survey, known: Mapping[Key, Person], limits: Limits) -> None:
        self.survey = survey
        self.drafted: list[Drafted] = []
        self.bodies: list[bytes] = []
        self.counts: Counts = Counter(survey.counts)
        self._fates = list(survey.fates)
        self._rejected = list(survey.rejected)
        self._changes: dict[Key, Person] = {}
        self._ages: list[float] = []
        self._known = known
        self._limits = limits

    def person(self, key: Key) -> Person:
        """Return a person as known by now."""
        return self._changes.get(key) or self._known.get(key, _NOBODY)

    def learn(self, facts: Sequence[Seen]) -> None:
        """Take in what experience events say."""
        for at, key, fact in facts:
            person = self.person(key)
            grown = with_fact(person, fact, self._limits)
            self._raise(at, Fate.REMEMBERED)
            if grown is person:
                continue
            self._changes[key] = grown
            if person.scores and (overtaken := scores_since(person, fact.time_ms)):
                self.counts["late_events",] += 1
                self.counts["scores_before_late_event",] += overtaken

    def standing(self, scored: Scored) -> Novelty:
        """Return whether a score was delivered before, and with this content."""
        prepared = scored.prepared
        return novelty(
            self.person(scored.key),
            prepared.destination.model_key,
            scored_at_ms=prepared.score.scored_at_ms,
            event_id=prepared.id,
            digest=prepared.digest,
        )

    def ended(self, one: Placed, refused: Mapping[int, Reject]) -> bool:
        """Return whether a score ended before it was drafted: refused, or filtered by a rule."""
        place, (at, _, prepared) = one
        if place in refused:
            self.reject(at, refused[place])
            return True
        if prepared.late and prepared.rule is not None:
            self.end(at, Fate.FILTERED, "records_filtered", prepared.rule)
            return True
        return False

    def add(self, place: int, scored: Scored, event: dict[str, Any]) -> None:
        """Draft an event for a score."""
        self.drafted.append(Drafted(place, scored, event))
        if self._fates[scored.at] is Fate.FILTERED:
            self._fates[scored.at] = Fate.DELIVERED
        else:
            self._raise(scored.at, Fate.DELIVERED)

    def mark_delivered(self, scored: Scored) -> None:
        """Let later scores, and later batches, know of this one."""
        person, prepared = self.person(scored.key), scored.prepared
        at_ms, record = prepared.score.scored_at_ms, self.survey.records[scored.at]
        content = (prepared.digest, prepared.score.score, prepared.bucket)
        delivered = DeliveredScore(at_ms, prepared.id, *content, record.timestamp_ms)
        self._changes[scored.key] = with_score(person, prepared.model_key, delivered, self._limits)
        if person.facts and (newer := bisect_right(person.facts, at_ms, key=time_of)):
            self._ages.append((at_ms - time_of(person.facts[newer - 1])) / 1000)

    def reject(self, at: int, reject: Reject) -> None:
        """Note that an event can not be sent."""
        self._rejected.append(Rejected(self.survey.records[at], reject))
        self._raise(at, Fate.DEAD)

    def end(self, at: int, fate: Fate, *count: str) -> None:
        """Note how a score ended that is not sent."""
        self._raise(at, fate)
        self.counts[count] += 1

    def plan(self) -> Plan:
        """Return what was drafted, once it is encoded."""
        events = [
            _event(one, body, self.survey.records[one.scored.at])
            for one, body in zip(self.drafted, self.bodies, strict=True)
        ]
        counts, ages, forwards = self.counts, self._ages, self.survey.forwards
        return Plan(events, self._rejected, self._changes, self._fates, counts, ages, forwards)

    def _raise(self, at: int, fate: Fate) -> None:
        if _MERIT[fate] > _MERIT[self._fates[at]]:
            self._fates[at] = fate


def turns(scores: Sequence[Scored]) -> list[list[Placed]]:
    """Split scores so that no turn has two of one person by one model; mostly there is one turn.

    Within a turn no score is another's previous one, so each step can be taken for all of them.
    """
    whose = [(one.key, one.prepared.destination.model_key) for one in scores]
    if len(set(whose)) == len(whose):
        return [[Placed(place, scored) for place, scored in enumerate(scores)]]
    seen: Counter[tuple[Key, str]] = Counter()
    split: list[list[Placed]] = []
    for place, (scored, one) in enumerate(zip(scores, whose, strict=True)):
        turn = seen[one]
        seen[one] = turn + 1
        if turn == len(split):
            split.append([])
        split[turn].append(Placed(place, scored))
    return split


def _event(drafted: Drafted, body: bytes, record: Record) -> ScoreEvent:
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
