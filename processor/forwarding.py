"""Round by the repartition topic: messages are made of what some records say, others are messages.

The rest of the corridor goes on as if experience events had been keyed as scores are.
"""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from processor.event import Fact, Forwarded, Reading
from processor.forwarded import encode, key_of
from processor.outcome import Fate, Reason, Reject, Rule, Stage
from processor.plan import Seen, Survey
from processor.score import Score
from processor.settings import JoinSettings

__all__ = ["Forwarding"]

_MOST_BYTES: Final = 900_000
"""What a topic takes of one message unless told otherwise (`max.message.bytes`), less some room."""
_TOO_LARGE: Final = Reject(
    Stage.READ, Reason.TOO_LARGE, "What is kept of it is too large to be forwarded."
)


class Forwarding:
    """Changes surveys; holds nothing between them."""

    def __init__(self, join: JoinSettings) -> None:
        self._namespaced = join.repartition_key == "namespaced"

    def redirect(
        self, survey: Survey, readings: Sequence[tuple[int, Reading]], latest_ms: int
    ) -> None:
        """Send on what is of foreign records, take in what was sent on; facts to `latest_ms`."""
        self._send_all_on(survey, {at for at, reading in readings if reading.foreign})
        _take_in(survey, readings, latest_ms)
        self._count_misplaced(survey)

    def _send_all_on(self, survey: Survey, foreign: AbstractSet[int]) -> None:
        """Make messages of what foreign records say, and take it out of the survey."""
        persons: dict[int, bytes] = {}
        facts: dict[int, Fact] = {}
        scores: defaultdict[int, list[Score]] = defaultdict(list)
        for at, (_, person), fact in survey.facts:
            if at in foreign:
                persons[at], facts[at] = person, fact
        for at, (_, person), prepared in survey.scores:
            if at in foreign:
                persons[at] = person
                scores[at].append(prepared.score)
        survey.facts = [seen for seen in survey.facts if seen.at not in foreign]
        survey.scores = [scored for scored in survey.scores if scored.at not in foreign]
        for at, person in persons.items():
            said = Forwarded(person, facts.get(at), tuple(scores.get(at, ())))
            self._send_on(survey, at, said)

    def _send_on(self, survey: Survey, at: int, said: Forwarded) -> None:
        value = encode(said)
        if len(value) > _MOST_BYTES:
            survey.reject(at, _TOO_LARGE)
            return
        survey.forwards.append((key_of(said.person, namespaced=self._namespaced), value))
        if survey.fates[at] is Fate.FILTERED:
            survey.fates[at] = Fate.FORWARDED

    def _count_misplaced(self, survey: Survey) -> None:
        """Count the records of scores that are keyed otherwise than messages are."""
        seen = -1
        for at, (_, person), _ in survey.scores:
            record = survey.records[at]
            if at != seen and record.key != key_of(person, namespaced=self._namespaced):
                survey.counts["misplaced_records", record.topic] += 1
            seen = at


def _take_in(survey: Survey, readings: Sequence[tuple[int, Reading]], latest_ms: int) -> None:
    """Note the facts that were forwarded to here."""
    for at, reading in readings:
        said = reading.forwarded
        if said is None or said.fact is None:
            continue
        if said.fact.time_ms > latest_ms:
            survey.counts["records_filtered", Rule.EVENT_IN_FUTURE] += 1
            continue
        survey.facts.append(Seen(at, (survey.records[at].partition, said.person), said.fact))
