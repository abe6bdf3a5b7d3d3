"""The pure middle: records become a survey, a survey and what is known become a plan.

    records --survey--> readings and whose they are --(recall)--> plan: events, rejects, changes

Within a batch experience events come first, whatever order they were polled in: a context asks what
was known as of the score date, so more knowledge never harms and less would.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from processor.enrich.enricher import Enricher, Prepared
from processor.errors import RejectError
from processor.event import ExperienceEvent, Fact, ScoreEvent
from processor.outcome import Fate, Reject, Rule
from processor.person import (
    ContextStatus,
    DeliveredScore,
    Limits,
    Novelty,
    Person,
    novelty,
    scores_since,
    with_fact,
    with_score,
)
from processor.ports import Key, Reads
from processor.record import Record
from processor.score import Score
from processor.settings import JoinSettings

__all__ = ["Pipeline", "Plan", "Rejected", "Survey"]

_NOBODY = Person()
_MERIT = {Fate.FILTERED: 0, Fate.REMEMBERED: 1, Fate.MERGED: 2, Fate.DELIVERED: 3, Fate.DEAD: 4}
"""A record with several ends has the gravest: one bad score makes a dead letter of the record."""


class Rejected(NamedTuple):
    """One record, or one score in it, bound for the dead-letter topic."""

    record: Record
    reject: Reject


class _Seen(NamedTuple):
    at: int
    key: Key
    fact: Fact


class _Scored(NamedTuple):
    at: int
    key: Key
    prepared: Prepared


class Survey(msgspec.Struct):
    """What a batch's records say, and about whom; `fates` has a first guess for each record."""

    records: Sequence[Record]
    fates: list[Fate]
    facts: list[_Seen] = []
    scores: list[_Scored] = []
    rejected: list[Rejected] = []
    counts: Counter[tuple[str, ...]] = msgspec.field(default_factory=Counter)

    @property
    def keys(self) -> set[Key]:
        """Return the keys of all persons concerned."""
        return {one.key for one in self.facts} | {one.key for one in self.scores}

    def reject(self, at: int, reject: Reject) -> None:
        """Note that a record, or one score in it, is bad."""
        self.rejected.append(Rejected(self.records[at], reject))
        self.fates[at] = Fate.DEAD


class Plan(msgspec.Struct):
    """What is to be done for one batch; `fates` has one entry a record, in the batch's order."""

    events: list[ScoreEvent]
    rejected: list[Rejected]
    changes: dict[Key, Person]
    fates: list[Fate]
    counts: Counter[tuple[str, ...]]
    """Increments for the metrics, by metric name and label values."""


class Pipeline:
    """Knows how to read, join and enrich; holds nothing between batches."""

    def __init__(self, reader: Reads, enricher: Enricher, join: JoinSettings) -> None:
        self._reader = reader
        self._enricher = enricher
        self._limits = join.limits()
        self._join = join.enabled
        self._status = ContextStatus.COMPLETE if join.enabled else ContextStatus.OFF
        self._suppress = join.corrections == "suppress"

    def learn(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; raises UnavailableError on an outage."""
        self._reader.learn(records)

    def survey(self, records: Sequence[Record], now_ms: int) -> Survey:
        """Read every record and prepare its scores; what is bad is rejected here or in `plan`."""
        survey = Survey(records, [Fate.FILTERED] * len(records))
        read = self._reader.read
        for at, record in enumerate(records):
            try:
                reading = read(record)
            except RejectError as error:
                survey.reject(at, error.reject)
                continue
            for score in reading.scores:
                self._prepare(survey, at, score, now_ms)
            for reject in reading.rejects:
                survey.reject(at, reject)
            if reading.event is not None:
                self._note(survey, at, reading.event)
            if reading.rule is not None:
                survey.counts["records_filtered", reading.rule] += 1
        return survey

    def plan(
        self, survey: Survey, known: Mapping[Key, Person], overdue: AbstractSet[int] = frozenset()
    ) -> Plan:
        """Join and enrich: facts first, then scores in order, each seeing those before it."""
        draft = _Draft(survey, known, self._limits)
        for seen in survey.facts:
            draft.learn(seen)
        for scored in survey.scores:
            self._decide(draft, scored, late=scored.at in overdue)
        return draft.plan

    def _prepare(self, survey: Survey, at: int, score: Score, now_ms: int) -> None:
        try:
            prepared = self._enricher.prepare(score, now_ms)
        except RejectError as error:
            survey.reject(at, error.reject)
            return
        for namespace in prepared.left_out:
            survey.counts["placeholder_identities", namespace] += 1
        if prepared.late:
            survey.counts["late_scores", prepared.route] += 1
        key = (survey.records[at].partition, prepared.person)
        survey.scores.append(_Scored(at, key, prepared))

    def _note(self, survey: Survey, at: int, event: ExperienceEvent) -> None:
        if not self._join:
            survey.counts["records_filtered", Rule.JOIN_OFF] += 1
            return
        person = self._enricher.person(event.identities)
        if person is None:
            survey.counts["records_filtered", Rule.EVENT_WITHOUT_PERSON] += 1
            return
        survey.facts.append(_Seen(at, (survey.records[at].partition, person), event.fact))

    def _decide(self, draft: "_Draft", scored: _Scored, *, late: bool) -> None:
        """Merge, suppress, or send one score."""
        prepared, person = scored.prepared, draft.person(scored.key)
        standing = self._standing(prepared, person)
        if standing is Novelty.SAME:
            draft.end(scored.at, Fate.MERGED, "merged_scores", prepared.route)
        elif prepared.rule is not None:
            draft.end(scored.at, Fate.FILTERED, "records_filtered", prepared.rule)
        elif standing is Novelty.CORRECTION and self._suppress:
            draft.end(scored.at, Fate.FILTERED, "records_filtered", Rule.CORRECTION_SUPPRESSED)
        else:
            self._compose(draft, scored, person, late=late)
            if standing is Novelty.CORRECTION:
                draft.plan.counts["corrections", prepared.route, "sent"] += 1

    def _standing(self, prepared: Prepared, person: Person) -> Novelty:
        return novelty(
            person,
            prepared.model_key,
            scored_at_ms=prepared.score.scored_at_ms,
            event_id=prepared.id,
            digest=prepared.digest,
        )

    def _compose(self, draft: "_Draft", scored: _Scored, person: Person, *, late: bool) -> None:
        status = ContextStatus.PARTIAL if late and self._join else self._status
        record = draft.records[scored.at]
        try:
            event = self._enricher.compose(scored.prepared, person, status, record)
        except RejectError as error:
            draft.reject(scored.at, error.reject)
            return
        draft.send(scored, event, remember=self._join)


class _Draft:
    """A plan in the making: the persons as this batch leaves them, so far."""

    def __init__(self, survey: Survey, known: Mapping[Key, Person], limits: Limits) -> None:
        self.records = survey.records
        self.plan = Plan([], survey.rejected, {}, survey.fates, survey.counts)
        self._known = known
        self._limits = limits

    def person(self, key: Key) -> Person:
        changed = self.plan.changes.get(key)
        return changed if changed is not None else self._known.get(key, _NOBODY)

    def learn(self, seen: _Seen) -> None:
        person = self.person(seen.key)
        grown = with_fact(person, seen.fact, self._limits)
        self._raise(seen.at, Fate.REMEMBERED)
        if grown is person:
            return
        self.plan.changes[seen.key] = grown
        if person.scores and (overtaken := scores_since(person, seen.fact.time_ms)):
            self.plan.counts["late_events",] += 1
            self.plan.counts["scores_before_late_event",] += overtaken

    def send(self, scored: _Scored, event: ScoreEvent, *, remember: bool) -> None:
        self.plan.events.append(event)
        self._raise(scored.at, Fate.DELIVERED)
        if remember:
            prepared = scored.prepared
            delivered = DeliveredScore(
                event.scored_at_ms,
                event.id,
                event.digest,
                prepared.score.score,
                prepared.bucket,
            )
            person = self.person(scored.key)
            self.plan.changes[scored.key] = with_score(person, event.model, delivered, self._limits)

    def reject(self, at: int, reject: Reject) -> None:
        self.plan.rejected.append(Rejected(self.records[at], reject))
        self._raise(at, Fate.DEAD)

    def end(self, at: int, fate: Fate, *count: str) -> None:
        self._raise(at, fate)
        self.plan.counts[count] += 1

    def _raise(self, at: int, fate: Fate) -> None:
        fates = self.plan.fates
        if _MERIT[fate] > _MERIT[fates[at]]:
            fates[at] = fate
