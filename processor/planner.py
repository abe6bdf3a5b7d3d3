"""The pure middle: records become a survey, a survey and what is known become a plan.

    records --survey--> readings and whose they are --(recall)--> plan: events, rejects, changes

Within a batch experience events come first, whatever order they were polled in: a context asks what
was known as of the score date, so more knowledge never harms and less would.

Round by the repartition topic: messages are made of what some records say, others are messages.

The rest of the corridor goes on as if experience events had been keyed as scores are.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from processor.codec.repartition_message import encode, key_of
from processor.components import RecordReader
from processor.domain.errors import RejectError
from processor.domain.event import DecodedRecord, ExperienceEvent, Fact, RepartitionMessage
from processor.domain.outcome import ContextStatus, FilterRule, Outcome, Reason, Reject, Stage
from processor.domain.record import Record
from processor.domain.score import Score
from processor.enrich.enricher import Enricher
from processor.enrich.event_id import digest
from processor.enrich.prepared_score import PreparedScore
from processor.plan import (
    DecodedBatch,
    IndexedScore,
    PlacedFact,
    PlacedScore,
    Plan,
    PlanBuilder,
    rounds,
)
from processor.settings import JoinSettings
from processor.state.format.score_history import Novelty
from processor.state.person import Person, PersonKey, PersonLimits

_MOST_BYTES: Final = 900_000
"""What a topic takes of one message unless told otherwise (`max.message.bytes`), less some room."""
_TOO_LARGE: Final = Reject(
    Stage.READ, Reason.TOO_LARGE, "What is kept of it is too large to be forwarded."
)


class Repartitioner:
    """Changes surveys; holds nothing between them."""

    def __init__(self, join: JoinSettings) -> None:
        self._namespaced = join.repartition_key == "namespaced"

    def redirect(
        self, decoded: DecodedBatch, readings: Sequence[tuple[int, DecodedRecord]], latest_ms: int
    ) -> None:
        """Send on what is of foreign records, take in what was sent on; facts to `latest_ms`."""
        self._send_all_on(decoded, {at for at, reading in readings if reading.foreign})
        _take_in(decoded, readings, latest_ms)
        self._count_misplaced(decoded)

    def _send_all_on(self, decoded: DecodedBatch, foreign: AbstractSet[int]) -> None:
        """Make messages of what foreign records say, and take it out of the survey."""
        persons: dict[int, bytes] = {}
        facts: dict[int, Fact] = {}
        scores: defaultdict[int, list[Score]] = defaultdict(list)
        for at, (_, person), fact in decoded.facts:
            if at in foreign:
                persons[at], facts[at] = person, fact
        for at, (_, person), prepared in decoded.scores:
            if at in foreign:
                persons[at] = person
                scores[at].append(prepared.score)
        decoded.facts = [seen for seen in decoded.facts if seen.at not in foreign]
        decoded.scores = [scored for scored in decoded.scores if scored.at not in foreign]
        for at, person in persons.items():
            said = RepartitionMessage(person, facts.get(at), tuple(scores.get(at, ())))
            self._send_on(decoded, at, said)

    def _send_on(self, decoded: DecodedBatch, at: int, said: RepartitionMessage) -> None:
        value = encode(said)
        if len(value) > _MOST_BYTES:
            decoded.reject(at, _TOO_LARGE)
            return
        decoded.repartition_messages.append(
            (key_of(said.person, namespaced=self._namespaced), value)
        )
        if decoded.outcomes[at] is Outcome.FILTERED:
            decoded.outcomes[at] = Outcome.REPARTITIONED

    def _count_misplaced(self, decoded: DecodedBatch) -> None:
        """Count the records of scores that are keyed otherwise than messages are."""
        seen = -1
        for at, (_, person), _ in decoded.scores:
            record = decoded.records[at]
            if at != seen and record.key != key_of(person, namespaced=self._namespaced):
                decoded.counts["misplaced_records", record.topic] += 1
            seen = at


def _take_in(
    decoded: DecodedBatch, readings: Sequence[tuple[int, DecodedRecord]], latest_ms: int
) -> None:
    """Note the facts that were forwarded to here."""
    for at, reading in readings:
        said = reading.repartitioned
        if said is None or said.fact is None:
            continue
        if said.fact.time_ms > latest_ms:
            decoded.counts["records_filtered", FilterRule.EVENT_IN_FUTURE] += 1
            continue
        decoded.facts.append(
            PlacedFact(at, (decoded.records[at].partition, said.person), said.fact)
        )


_DAY_MS = 86_400_000
_COMPLETE, _PARTIAL, _OFF = ContextStatus.COMPLETE, ContextStatus.PARTIAL, ContextStatus.OFF


class Planner:
    """Knows how to read, join and enrich; holds nothing between batches.

    Each step is taken for the whole batch before the next: a processor that does one small thing
    many times does it almost twice as fast as one that takes turns.
    """

    def __init__(self, reader: RecordReader, enricher: Enricher, join: JoinSettings) -> None:
        self._reader = reader
        self._enricher = enricher
        self._limits = PersonLimits.of(join)
        self._join = join.enabled
        self._suppress = join.corrections == "suppress"
        self._repartitioning = Repartitioner(join) if join.repartition_topic is not None else None

    def fetch_schemas(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; raises UnavailableError on an outage."""
        self._reader.fetch_schemas(records)

    def decode(self, records: Sequence[Record], now_ms: int) -> DecodedBatch:
        """Read every record and prepare its scores; what is bad is rejected here or in `plan`."""
        decoded = DecodedBatch(records, [Outcome.FILTERED] * len(records))
        scores: list[tuple[int, Score]] = []
        events: list[tuple[int, ExperienceEvent]] = []
        readings = self._read(decoded)
        for at, reading in readings:
            scores += [(at, score) for score in reading.scores]
            if reading.event is not None:
                events.append((at, reading.event))
            for reject in reading.rejects:
                decoded.reject(at, reject)
            if reading.rule is not None:
                decoded.counts["records_filtered", reading.rule] += 1
        self._prepare(decoded, scores, now_ms)
        self._note(decoded, events, now_ms + _DAY_MS)
        if self._repartitioning is not None:
            self._repartitioning.redirect(decoded, readings, now_ms + _DAY_MS)
        self._count_scores(decoded)
        return decoded

    def plan(
        self,
        decoded: DecodedBatch,
        known: Mapping[PersonKey, Person],
        timed_out: AbstractSet[int] = frozenset(),
    ) -> Plan:
        """Join and enrich: facts first, then scores in order, each seeing those before it."""
        refused: dict[int, Reject] = {}
        while True:
            builder = PlanBuilder(decoded, known, self._limits)
            if self._join:
                builder.add_facts(decoded.facts)
            self._decide(builder, timed_out, refused)
            again = self._encode(builder)
            if not again:
                if self._join:
                    self._count_contexts(builder)
                return builder.plan()
            # A later score must not look back on one that is not sent: plan anew without them.
            refused |= again

    def _read(self, decoded: DecodedBatch) -> list[tuple[int, DecodedRecord]]:
        read, readings = self._reader.read, []
        for at, record in enumerate(decoded.records):
            try:
                readings.append((at, read(record)))
            except RejectError as error:
                decoded.reject(at, error.reject)
        return readings

    def _prepare(self, decoded: DecodedBatch, scores: list[tuple[int, Score]], now_ms: int) -> None:
        prepare, records = self._enricher.prepare, decoded.records
        for at, score in scores:
            try:
                prepared = prepare(score, now_ms)
            except RejectError as error:
                decoded.reject(at, error.reject)
            else:
                decoded.scores.append(
                    PlacedScore(at, (records[at].partition, prepared.person), prepared)
                )
        if len({one.at for one in decoded.scores}) < len(decoded.scores):
            _tell_apart(decoded)

    def _count_scores(self, decoded: DecodedBatch) -> None:
        for _, _, prepared in decoded.scores:
            if prepared.late:
                decoded.counts["late_scores", prepared.route] += 1
            for namespace in prepared.left_out:
                decoded.counts["placeholder_identities", namespace] += 1

    def _note(
        self, decoded: DecodedBatch, events: list[tuple[int, ExperienceEvent]], latest_ms: int
    ) -> None:
        if not self._join:
            decoded.counts["records_filtered", FilterRule.JOIN_OFF] += len(events)
            return
        person_of, records = self._enricher.person, decoded.records
        for at, event in events:
            person = person_of(event.identities)
            if person is None:
                decoded.counts["records_filtered", FilterRule.EVENT_WITHOUT_PERSON] += 1
            elif event.fact.time_ms > latest_ms:
                decoded.counts["records_filtered", FilterRule.EVENT_IN_FUTURE] += 1
            else:
                decoded.facts.append(PlacedFact(at, (records[at].partition, person), event.fact))

    def _decide(
        self, builder: PlanBuilder, timed_out: AbstractSet[int], refused: Mapping[int, Reject]
    ) -> None:
        """Reject, merge, suppress or draft every score."""
        for turn in rounds(builder.decoded.scores):
            wanted = [one for one in turn if not builder.ended(one, refused)]
            if self._join:
                wanted = self._wanted(builder, wanted)
            self._draft(builder, wanted, timed_out)

    def _wanted(self, builder: PlanBuilder, scores: list[IndexedScore]) -> list[IndexedScore]:
        """Return the scores that are to be sent; the others are merged or suppressed."""
        standings = [builder.standing(scored) for _, scored in scores]
        wanted = []
        for one, standing in zip(scores, standings, strict=True):
            at, _, prepared = one.scored
            if standing is Novelty.SAME:
                builder.end(at, Outcome.DUPLICATE, "duplicate_scores", prepared.route)
                continue
            if standing is Novelty.CORRECTION:
                result = "suppressed" if self._suppress else "sent"
                builder.counts["corrections", prepared.route, result] += 1
                if self._suppress:
                    rule = FilterRule.CORRECTION_SUPPRESSED
                    builder.end(at, Outcome.FILTERED, "records_filtered", rule)
                    continue
            wanted.append(one)
        return wanted

    def _draft(
        self, builder: PlanBuilder, scores: Sequence[IndexedScore], timed_out: AbstractSet[int]
    ) -> None:
        known = [(one.prepared, builder.person(one.key)) for _, one in scores]
        if self._join:
            waited = [_PARTIAL if one.at in timed_out else _COMPLETE for _, one in scores]
        else:
            waited = [_OFF] * len(scores)
        events = self._enricher.events(known, waited)
        for (place, scored), event in zip(scores, events, strict=True):
            builder.add(place, scored, event)
        if self._join:
            for _, scored in scores:
                builder.mark_delivered(scored)

    def _encode(self, builder: PlanBuilder) -> dict[int, Reject]:
        """Encode what was drafted; returns the rejects by their place among the scores."""
        drafted = builder.drafted
        ends = self._enricher.encode([(one.scored.prepared, one.event) for one in drafted])
        rejects = {
            one.place: end
            for one, end in zip(drafted, ends, strict=True)
            if isinstance(end, Reject)
        }
        if not rejects:
            builder.bodies = [end for end in ends if isinstance(end, bytes)]
        return rejects

    def _count_contexts(self, builder: PlanBuilder) -> None:
        contexts = [
            (one.scored.prepared.route, self._enricher.context_in(one.event))
            for one in builder.drafted
        ]
        for status, count in Counter(each.get("contextStatus") for _, each in contexts).items():
            builder.counts["join_lookups", status or "none"] += count
        moves = Counter((route, each.get("bucketMovement")) for route, each in contexts)
        for (route, movement), count in moves.items():
            if movement:
                builder.counts["score_movements", route, movement] += count


def _tell_apart(decoded: DecodedBatch) -> None:
    """Leave one score of an `_id` to each record: a second one merges, or contradicts the first."""
    first: dict[tuple[int, str], PreparedScore] = {}
    kept: list[PlacedScore] = []
    for one in decoded.scores:
        at, _, prepared = one
        rival = first.setdefault((at, prepared.id), prepared)
        if rival is prepared:
            kept.append(one)
        elif digest(rival.score) == digest(prepared.score):
            decoded.counts["duplicate_scores", prepared.route] += 1
        else:
            decoded.reject(at, _contradiction(prepared))
    decoded.scores = kept


def _contradiction(prepared: PreparedScore) -> Reject:
    model = prepared.score.model
    detail = f"The record has another score of the same person and date as {prepared.model_key}."
    return Reject(Stage.ENRICH, Reason.BAD_SCORE, detail, model=model)
