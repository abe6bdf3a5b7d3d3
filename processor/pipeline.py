"""The pure middle: records become a survey, a survey and what is known become a plan.

    records --survey--> readings and whose they are --(recall)--> plan: events, rejects, changes

Within a batch experience events come first, whatever order they were polled in: a context asks what
was known as of the score date, so more knowledge never harms and less would.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from processor.enrich.enricher import Enricher, Prepared
from processor.enrich.naming import digest
from processor.errors import RejectError
from processor.event import ExperienceEvent, Reading
from processor.forwarding import Forwarding
from processor.outcome import Fate, Reason, Reject, Rule, Stage
from processor.person import ContextStatus, Novelty, Person
from processor.plan import Draft, Placed, Plan, Scored, Seen, Survey, turns
from processor.ports import Key, Reads
from processor.record import Record
from processor.score import Score
from processor.settings import JoinSettings

__all__ = ["Pipeline"]

_DAY_MS = 86_400_000
_COMPLETE, _PARTIAL, _OFF = ContextStatus.COMPLETE, ContextStatus.PARTIAL, ContextStatus.OFF


class Pipeline:
    """Knows how to read, join and enrich; holds nothing between batches.

    Each step is taken for the whole batch before the next: a processor that does one small thing
    many times does it almost twice as fast as one that takes turns.
    """

    def __init__(self, reader: Reads, enricher: Enricher, join: JoinSettings) -> None:
        self._reader = reader
        self._enricher = enricher
        self._limits = join.limits()
        self._join = join.enabled
        self._suppress = join.corrections == "suppress"
        self._forwarding = Forwarding(join) if join.repartition_topic is not None else None

    def learn(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; raises UnavailableError on an outage."""
        self._reader.learn(records)

    def survey(self, records: Sequence[Record], now_ms: int) -> Survey:
        """Read every record and prepare its scores; what is bad is rejected here or in `plan`."""
        survey = Survey(records, [Fate.FILTERED] * len(records))
        scores: list[tuple[int, Score]] = []
        events: list[tuple[int, ExperienceEvent]] = []
        readings = self._read(survey)
        for at, reading in readings:
            scores += [(at, score) for score in reading.scores]
            if reading.event is not None:
                events.append((at, reading.event))
            for reject in reading.rejects:
                survey.reject(at, reject)
            if reading.rule is not None:
                survey.counts["records_filtered", reading.rule] += 1
        self._prepare(survey, scores, now_ms)
        self._note(survey, events, now_ms + _DAY_MS)
        if self._forwarding is not None:
            self._forwarding.redirect(survey, readings, now_ms + _DAY_MS)
        self._count_scores(survey)
        return survey

    def plan(
        self, survey: Survey, known: Mapping[Key, Person], overdue: AbstractSet[int] = frozenset()
    ) -> Plan:
        """Join and enrich: facts first, then scores in order, each seeing those before it."""
        refused: dict[int, Reject] = {}
        while True:
            draft = Draft(survey, known, self._limits)
            if self._join:
                draft.learn(survey.facts)
            self._decide(draft, overdue, refused)
            again = self._encode(draft)
            if not again:
                if self._join:
                    self._count_contexts(draft)
                return draft.plan()
            # A later score must not look back on one that is not sent: plan anew without them.
            refused |= again

    def _read(self, survey: Survey) -> list[tuple[int, Reading]]:
        read, readings = self._reader.read, []
        for at, record in enumerate(survey.records):
            try:
                readings.append((at, read(record)))
            except RejectError as error:
                survey.reject(at, error.reject)
        return readings

    def _prepare(self, survey: Survey, scores: list[tuple[int, Score]], now_ms: int) -> None:
        prepare, records = self._enricher.prepare, survey.records
        for at, score in scores:
            try:
                prepared = prepare(score, now_ms)
            except RejectError as error:
                survey.reject(at, error.reject)
            else:
                survey.scores.append(Scored(at, (records[at].partition, prepared.person), prepared))
        if len({one.at for one in survey.scores}) < len(survey.scores):
            _tell_apart(survey)

    def _count_scores(self, survey: Survey) -> None:
        for _, _, prepared in survey.scores:
            if prepared.late:
                survey.counts["late_scores", prepared.route] += 1
            for namespace in prepared.left_out:
                survey.counts["placeholder_identities", namespace] += 1

    def _note(
        self, survey: Survey, events: list[tuple[int, ExperienceEvent]], latest_ms: int
    ) -> None:
        if not self._join:
            survey.counts["records_filtered", Rule.JOIN_OFF] += len(events)
            return
        person_of, records = self._enricher.person, survey.records
        for at, event in events:
            person = person_of(event.identities)
            if person is None:
                survey.counts["records_filtered", Rule.EVENT_WITHOUT_PERSON] += 1
            elif event.fact.time_ms > latest_ms:
                survey.counts["records_filtered", Rule.EVENT_IN_FUTURE] += 1
            else:
                survey.facts.append(Seen(at, (records[at].partition, person), event.fact))

    def _decide(
        self, draft: Draft, overdue: AbstractSet[int], refused: Mapping[int, Reject]
    ) -> None:
        """Reject, merge, suppress or draft every score."""
        for turn in turns(draft.survey.scores):
            wanted = [one for one in turn if not draft.ended(one, refused)]
            if self._join:
                wanted = self._wanted(draft, wanted)
            self._draft(draft, wanted, overdue)

    def _wanted(self, draft: Draft, scores: list[Placed]) -> list[Placed]:
        """Return the scores that are to be sent; the others are merged or suppressed."""
        standings = [draft.standing(scored) for _, scored in scores]
        wanted = []
        for one, standing in zip(scores, standings, strict=True):
            at, _, prepared = one.scored
            if standing is Novelty.SAME:
                draft.end(at, Fate.MERGED, "merged_scores", prepared.route)
                continue
            if standing is Novelty.CORRECTION:
                outcome = "suppressed" if self._suppress else "sent"
                draft.counts["corrections", prepared.route, outcome] += 1
                if self._suppress:
                    rule = Rule.CORRECTION_SUPPRESSED
                    draft.end(at, Fate.FILTERED, "records_filtered", rule)
                    continue
            wanted.append(one)
        return wanted

    def _draft(self, draft: Draft, scores: Sequence[Placed], overdue: AbstractSet[int]) -> None:
        known = [(one.prepared, draft.person(one.key)) for _, one in scores]
        if self._join:
            waited = [_PARTIAL if one.at in overdue else _COMPLETE for _, one in scores]
        else:
            waited = [_OFF] * len(scores)
        events = self._enricher.events(known, waited)
        for (place, scored), event in zip(scores, events, strict=True):
            draft.add(place, scored, event)
        if self._join:
            for _, scored in scores:
                draft.mark_delivered(scored)

    def _encode(self, draft: Draft) -> dict[int, Reject]:
        """Encode what was drafted; returns the rejects by their place among the scores."""
        drafted = draft.drafted
        ends = self._enricher.encode([(one.scored.prepared, one.event) for one in drafted])
        rejects = {
            one.place: end
            for one, end in zip(drafted, ends, strict=True)
            if isinstance(end, Reject)
        }
        if not rejects:
            draft.bodies = [end for end in ends if isinstance(end, bytes)]
        return rejects

    def _count_contexts(self, draft: Draft) -> None:
        contexts = [
            (one.scored.prepared.route, self._enricher.context_in(one.event))
            for one in draft.drafted
        ]
        for status, count in Counter(each.get("contextStatus") for _, each in contexts).items():
            draft.counts["join_lookups", status or "none"] += count
        moves = Counter((route, each.get("bucketMovement")) for route, each in contexts)
        for (route, movement), count in moves.items():
            if movement:
                draft.counts["score_movements", route, movement] += count


def _tell_apart(survey: Survey) -> None:
    """Leave one score of an `_id` to each record: a second one merges, or contradicts the first."""
    first: dict[tuple[int, str], Prepared] = {}
    kept: list[Scored] = []
    for one in survey.scores:
        at, _, prepared = one
        rival = first.setdefault((at, prepared.id), prepared)
        if rival is prepared:
            kept.append(one)
        elif digest(rival.score) == digest(prepared.score):
            survey.counts["merged_scores", prepared.route] += 1
        else:
            survey.reject(at, _contradiction(prepared))
    survey.scores = kept


def _contradiction(prepared: Prepared) -> Reject:
    model = prepared.score.model
    detail = f"The record has another score of the same person and date as {prepared.model_key}."
    return Reject(Stage.ENRICH, Reason.BAD_SCORE, detail, model=model)
