"""The pure planner: records to a decoded batch, a decoded batch and person state to a plan.

    records -> decode -> DecodedBatch -> (persons are loaded) -> plan -> events, rejects, changes

Within a batch experience events come first, in whatever order they were polled: a context is what
was known as of the score date, so knowing more is never wrong, and knowing less would be.

Where experience events are not keyed by their person, `Repartitioner` turns facts and scores of
the wrong partition into messages for the repartition topic, and takes the facts of messages in.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from processor.codec.repartition_message import encode, key_of
from processor.components import RecordReader
from processor.domain.errors import RejectError
from processor.domain.event import DecodedRecord, ExperienceEvent, Fact, RepartitionMessage
from processor.domain.outcome import (
    ContextStatus,
    FilterRule,
    Movement,
    Outcome,
    Reason,
    Reject,
    Stage,
)
from processor.domain.record import Record
from processor.domain.score import Score
from processor.enrich.enricher import Enricher
from processor.enrich.prepared_score import PreparedScore, digest
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
from processor.telemetry.catalogue import (
    CORRECTIONS,
    DUPLICATE_SCORES,
    JOIN_LOOKUPS,
    LATE_SCORES,
    MISPLACED_RECORDS,
    PLACEHOLDER_IDENTITIES,
    RECORDS_FILTERED,
    SCORE_MOVEMENTS,
)
from processor.telemetry.labels import CorrectionResult

_MAX_MESSAGE_BYTES: Final = 900_000
"""A topic's default `max.message.bytes` (1,048,588), with a margin."""
_TOO_LARGE: Final = Reject(
    Stage.READ, Reason.TOO_LARGE, "What is kept of it is too large to be forwarded."
)


class Repartitioner:
    """Moves facts and scores between partitions: out as messages, in from messages."""

    def __init__(self, join: JoinSettings) -> None:
        self._namespaced = join.repartition_key == "namespaced"

    def repartition(
        self, decoded: DecodedBatch, readings: Sequence[tuple[int, DecodedRecord]], latest_ms: int
    ) -> None:
        """Replace what is of other partitions by messages, and add the facts of messages.

        Facts of messages that are dated after `latest_ms` are filtered. Scores of messages have the
        position of the record they came in, so that a message written twice is no new record.
        """
        self._move_out(decoded, {index for index, reading in readings if reading.needs_repartition})
        _add_repartitioned(decoded, readings, latest_ms)
        _set_positions(decoded, readings)
        self._count_misplaced(decoded)

    def _move_out(self, decoded: DecodedBatch, moved: AbstractSet[int]) -> None:
        """Turn the facts and scores of records on other partitions than their person's."""
        persons: dict[int, bytes] = {}
        facts: dict[int, Fact] = {}
        scores: defaultdict[int, list[Score]] = defaultdict(list)
        for index, (_, person), fact in decoded.facts:
            if index in moved:
                persons[index], facts[index] = person, fact
        for index, (_, person), prepared, _ in decoded.scores:
            if index in moved:
                persons[index] = person
                scores[index].append(prepared.score)
        decoded.facts = [each for each in decoded.facts if each.record_index not in moved]
        decoded.scores = [each for each in decoded.scores if each.record_index not in moved]
        for index, person in persons.items():
            found = tuple(scores.get(index, ()))
            position = decoded.records[index].position if found else None
            message = RepartitionMessage(person, facts.get(index), found, position)
            self._add_message(decoded, index, message)

    def _add_message(
        self, decoded: DecodedBatch, record_index: int, message: RepartitionMessage
    ) -> None:
        value = encode(message)
        if len(value) > _MAX_MESSAGE_BYTES:
            decoded.reject(record_index, _TOO_LARGE)
            return
        key = key_of(message.person, namespaced=self._namespaced)
        decoded.repartition_messages.append((key, value))
        if decoded.outcomes[record_index] is Outcome.FILTERED:
            decoded.outcomes[record_index] = Outcome.REPARTITIONED

    def _count_misplaced(self, decoded: DecodedBatch) -> None:
        """Count the score records that have another key than their person's messages."""
        last_index = -1
        for index, (_, person), _, _ in decoded.scores:
            record = decoded.records[index]
            if index != last_index and record.key != key_of(person, namespaced=self._namespaced):
                decoded.counts.add(MISPLACED_RECORDS, record.topic)
            last_index = index


def _add_repartitioned(
    decoded: DecodedBatch, readings: Sequence[tuple[int, DecodedRecord]], latest_ms: int
) -> None:
    for index, reading in readings:
        message = reading.repartitioned
        if message is None or message.fact is None:
            continue
        if message.fact.time_ms > latest_ms:
            decoded.counts.add(RECORDS_FILTERED, FilterRule.EVENT_IN_FUTURE)
            continue
        key = decoded.records[index].partition, message.person
        decoded.facts.append(PlacedFact(index, key, message.fact))


def _set_positions(decoded: DecodedBatch, readings: Sequence[tuple[int, DecodedRecord]]) -> None:
    """Give the scores of messages the positions of the records that the messages were made of."""
    positions = {
        index: reading.repartitioned.position
        for index, reading in readings
        if reading.repartitioned is not None and reading.repartitioned.position is not None
    }
    if positions:
        decoded.scores = [
            score._replace(position=positions.get(score.record_index, score.position))
            for score in decoded.scores
        ]


_DAY_MS = 86_400_000
_NO_REJECTS: Final[Mapping[int, Reject]] = {}
_COMPLETE, _PARTIAL, _OFF = ContextStatus.COMPLETE, ContextStatus.PARTIAL, ContextStatus.OFF


class Planner:
    """Decodes, joins and enriches whole batches; keeps nothing between them.

    Each step is taken for the whole batch before the next one: doing one small thing many times is
    almost twice as fast as taking every step for one record after the other.
    """

    def __init__(self, reader: RecordReader, enricher: Enricher, join: JoinSettings) -> None:
        self._reader = reader
        self._enricher = enricher
        self._limits = PersonLimits.of(join)
        self._join = join.enabled
        self._correction_result = (
            CorrectionResult.SUPPRESSED if join.corrections == "suppress" else CorrectionResult.SENT
        )
        self._repartitioner = Repartitioner(join) if join.repartition_topic is not None else None

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        """Start to fetch the writer schemas these records need; return True once all are there.

        Never blocks. Raises UnavailableError on an outage.
        """
        return self._reader.fetch_schemas(records)

    def decode(
        self, records: Sequence[Record], now_ms: int, rejects: Mapping[int, Reject] = _NO_REJECTS
    ) -> DecodedBatch:
        """Decode records and prepare their scores; bad ones are rejected in the result.

        `rejects` has the records, by index, that are rejected without being decoded.
        """
        decoded = DecodedBatch(records, [Outcome.FILTERED] * len(records))
        scores: list[tuple[int, Score]] = []
        events: list[tuple[int, ExperienceEvent]] = []
        readings = self._read(decoded, rejects)
        for index, reading in readings:
            scores += [(index, score) for score in reading.scores]
            if reading.event is not None:
                events.append((index, reading.event))
            for reject in reading.rejects:
                decoded.reject(index, reject)
            if reading.rule is not None:
                decoded.counts.add(RECORDS_FILTERED, reading.rule)
        self._prepare_scores(decoded, scores, now_ms)
        self._add_facts(decoded, events, now_ms + _DAY_MS)
        if self._repartitioner is not None:
            self._repartitioner.repartition(decoded, readings, now_ms + _DAY_MS)
        self._count_scores(decoded)
        return decoded

    def plan(
        self,
        decoded: DecodedBatch,
        persons: Mapping[PersonKey, Person],
        timed_out: AbstractSet[int] = frozenset(),
    ) -> Plan:
        """Join and enrich: facts first, then scores in order, each seeing those before it.

        `timed_out` are the indexes of records that did not wait for all earlier events.
        """
        invalid: dict[int, Reject] = {}
        while True:
            builder = PlanBuilder(decoded, persons, self._limits)
            if self._join:
                builder.add_facts(decoded.facts)
            self._add_scores(builder, timed_out, invalid)
            rejects = self._encode(builder)
            if not rejects:
                if self._join:
                    self._count_contexts(builder)
                return builder.build()
            # A later score must not look back on one that is not sent: plan again without it.
            invalid |= rejects

    def _read(
        self, decoded: DecodedBatch, rejects: Mapping[int, Reject]
    ) -> list[tuple[int, DecodedRecord]]:
        read, readings = self._reader.read, []
        chosen: Iterable[tuple[int, Record]] = enumerate(decoded.records)
        if rejects:
            chosen = [each for each in chosen if each[0] not in rejects]
        for index, reject in rejects.items():
            decoded.reject(index, reject)
        for index, record in chosen:
            try:
                readings.append((index, read(record)))
            except RejectError as error:
                decoded.reject(index, error.reject)
        return readings

    def _prepare_scores(
        self, decoded: DecodedBatch, scores: list[tuple[int, Score]], now_ms: int
    ) -> None:
        prepare, records = self._enricher.prepare, decoded.records
        for index, score in scores:
            try:
                prepared = prepare(score, now_ms)
            except RejectError as error:
                decoded.reject(index, error.reject)
            else:
                record = records[index]
                key = record.partition, prepared.person
                decoded.scores.append(PlacedScore(index, key, prepared, record.position))
        if len({score.record_index for score in decoded.scores}) < len(decoded.scores):
            _drop_repeated(decoded)

    def _count_scores(self, decoded: DecodedBatch) -> None:
        for _, _, prepared, _ in decoded.scores:
            if prepared.late:
                decoded.counts.add(LATE_SCORES, prepared.route)
            for namespace in prepared.left_out:
                decoded.counts.add(PLACEHOLDER_IDENTITIES, namespace)

    def _add_facts(
        self, decoded: DecodedBatch, events: list[tuple[int, ExperienceEvent]], latest_ms: int
    ) -> None:
        if not self._join:
            decoded.counts.add(RECORDS_FILTERED, FilterRule.JOIN_OFF, count=len(events))
            return
        person_of, records = self._enricher.person, decoded.records
        for index, event in events:
            person = person_of(event.identities)
            if person is None:
                decoded.counts.add(RECORDS_FILTERED, FilterRule.EVENT_WITHOUT_PERSON)
            elif event.fact.time_ms > latest_ms:
                decoded.counts.add(RECORDS_FILTERED, FilterRule.EVENT_IN_FUTURE)
            else:
                key = records[index].partition, person
                decoded.facts.append(PlacedFact(index, key, event.fact))

    def _add_scores(
        self, builder: PlanBuilder, timed_out: AbstractSet[int], invalid: Mapping[int, Reject]
    ) -> None:
        """Add the event of every score, or its outcome where none is sent."""
        for scores in rounds(builder.decoded.scores):
            sent = [each for each in scores if not builder.ends_without_event(each, invalid)]
            if self._join:
                sent = self._without_delivered(builder, sent)
            self._add_events(builder, sent, timed_out)

    def _without_delivered(
        self, builder: PlanBuilder, scores: list[IndexedScore]
    ) -> list[IndexedScore]:
        """Return the scores to send; end duplicates, and corrections that are suppressed."""
        novelties = [builder.novelty(each.score) for each in scores]
        sent = []
        for indexed, novelty in zip(scores, novelties, strict=True):
            record_index, _, prepared, _ = indexed.score
            if novelty is Novelty.SAME:
                builder.end(record_index, Outcome.DUPLICATE, DUPLICATE_SCORES, prepared.route)
                continue
            if novelty is Novelty.CORRECTION:
                builder.counts.add(CORRECTIONS, prepared.route, self._correction_result)
                if self._correction_result is CorrectionResult.SUPPRESSED:
                    rule = FilterRule.CORRECTION_SUPPRESSED
                    builder.end(record_index, Outcome.FILTERED, RECORDS_FILTERED, rule)
                    continue
            sent.append(indexed)
        return sent

    def _add_events(
        self, builder: PlanBuilder, scores: Sequence[IndexedScore], timed_out: AbstractSet[int]
    ) -> None:
        pairs = [(score.prepared, builder.person(score.key)) for _, score in scores]
        if self._join:
            statuses = [
                _PARTIAL if score.record_index in timed_out else _COMPLETE for _, score in scores
            ]
        else:
            statuses = [_OFF] * len(scores)
        events = self._enricher.events(pairs, statuses)
        for (score_index, score), event in zip(scores, events, strict=True):
            builder.add_event(score_index, score, event)
        if self._join:
            for _, score in scores:
                builder.add_delivered(score)

    def _encode(self, builder: PlanBuilder) -> dict[int, Reject]:
        """Encode the drafted events; returns the rejects by score index."""
        drafts = builder.drafts
        results = self._enricher.encode([(each.score.prepared, each.event) for each in drafts])
        rejects = {
            draft.score_index: result
            for draft, result in zip(drafts, results, strict=True)
            if isinstance(result, Reject)
        }
        if not rejects:
            builder.bodies = [result for result in results if isinstance(result, bytes)]
        return rejects

    def _count_contexts(self, builder: PlanBuilder) -> None:
        contexts = [
            (draft.score.prepared.route, self._enricher.context_in(draft.event))
            for draft in builder.drafts
        ]
        statuses = Counter(context.get("contextStatus") for _, context in contexts)
        for status, count in statuses.items():
            builder.counts.add(JOIN_LOOKUPS, ContextStatus(status or "none"), count=count)
        moves = Counter((route, context.get("bucketMovement")) for route, context in contexts)
        for (route, movement), count in moves.items():
            if movement:
                builder.counts.add(SCORE_MOVEMENTS, route, Movement(movement), count=count)


def _drop_repeated(decoded: DecodedBatch) -> None:
    """Keep one score of an `_id` in each record; reject another that contradicts it."""
    first: dict[tuple[int, str], PreparedScore] = {}
    scores: list[PlacedScore] = []
    for score in decoded.scores:
        index, _, prepared, _ = score
        other = first.setdefault((index, prepared.id), prepared)
        if other is prepared:
            scores.append(score)
        elif digest(other.score) == digest(prepared.score):
            decoded.counts.add(DUPLICATE_SCORES, prepared.route)
        else:
            decoded.reject(index, _contradiction(prepared))
    decoded.scores = scores


def _contradiction(prepared: PreparedScore) -> Reject:
    model = prepared.score.model
    detail = f"The record has another score of the same person and date as {prepared.model_key}."
    return Reject(Stage.ENRICH, Reason.BAD_SCORE, detail, model=model)
