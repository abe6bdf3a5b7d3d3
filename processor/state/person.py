"""The state of a person, as values; merging is a semilattice.

Merging is commutative, associative and idempotent, bounds included, so any order of arrival and any
number of duplicates end in the same state. It holds because every bound keeps the newest of a set
in one fixed order and stores up to where it dropped: what was dropped once stays dropped. Of two
facts with the same sort key the larger one in bytes stays, so a union is never smaller in bytes
than its parts.
"""

from bisect import bisect_left, bisect_right
from hashlib import blake2b
from heapq import nlargest
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from processor.domain.event import Fact, ScoreEvent
from processor.domain.record import RecordPosition
from processor.settings import JoinSettings
from processor.state.format.fact import (
    EARLIEST_MS,
    decode_fact,
    encode_fact,
    sort_key_of,
    time_key_of,
    time_of,
    time_of_sort_key,
)
from processor.state.format.score_history import (
    ENTRY_BYTES,
    DeliveredScore,
    Novelty,
    PreviousScore,
    add,
    count_since,
    encode_entry,
    novelty_in,
    previous_in,
    remove,
    split,
)

PersonKey: TypeAlias = tuple[int, bytes]
"""Where the state of a person is: partition number and person key."""


class PersonLimits(msgspec.Struct, frozen=True, gc=False):
    """How much is stored of one person.

    Facts older than `keep_ms` before the newest one are dropped. `fact_bytes` bounds all facts
    together; a fact larger than `one_fact_bytes` is stored without its texts. `scores` bounds the
    delivered scores of one model, `all_scores` those of all models together.
    """

    keep_ms: int
    facts: int
    fact_bytes: int
    one_fact_bytes: int
    scores: int
    all_scores: int

    @classmethod
    def of(cls, join: JoinSettings) -> "PersonLimits":
        """Return the limits that the settings ask for."""
        half = join.max_person_bytes // 2
        return cls(
            keep_ms=join.keep_days * 86_400_000,
            facts=join.max_facts,
            fact_bytes=half,
            one_fact_bytes=half // 8,
            scores=join.max_scores,
            all_scores=half // ENTRY_BYTES,
        )


class Person(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Recent facts, ascending and unique by time and id, and the scores delivered by model.

    Positional in bytes: new fields go last, with a default, and `merge` has to merge them.

    `facts` are encoded (`state.format.fact`), `scores` are histories
    (`state.format.score_history`), which no caller changes in place. `cut` is the sort key of the
    newest fact dropped for space: facts up to it are not accepted any more. It is empty where none
    was dropped within `PersonLimits.keep_ms`. `weight` is the size of all facts in bytes.
    """

    facts: tuple[bytes, ...] = ()
    scores: dict[str, bytes] = {}
    cut: bytes = b""
    weight: int = 0


def with_fact(person: Person, fact: Fact, limits: PersonLimits) -> Person:
    """Return a person who has this fact too; the same object where that changes nothing.

    Where two facts have one sort key, the larger one stays. Facts before `EARLIEST_MS` are ignored.
    """
    if fact.time_ms < EARLIEST_MS:
        return person
    encoded, facts = encode_fact(fact), person.facts
    if len(encoded) > limits.one_fact_bytes:
        encoded = encode_fact(_without_texts(fact))
    if facts and time_key_of(encoded) <= time_key_of(facts[-1]):
        return _with_late_fact(person, encoded, limits)
    if sort_key_of(encoded) <= person.cut:
        return person
    return _bounded(person, [*facts, encoded], person.weight + len(encoded), limits)


def with_score(
    person: Person, model: str, delivered: DeliveredScore, limits: PersonLimits
) -> Person:
    """Return a person for whom this score is marked as delivered."""
    history = person.scores.get(model, b"")
    longer = add(history, encode_entry(delivered), limits.scores)
    if longer == history:
        return person
    return replace(person, scores=_bounded_scores({**person.scores, model: longer}, limits))


def without_score(person: Person, event: ScoreEvent) -> Person:
    """Return a person for whom the score of this event is not marked as delivered.

    The same content of another record stays.
    """
    left = remove(
        person.scores.get(event.model, b""),
        event.scored_at_ms,
        event.id,
        event.digest,
        event.position,
    )
    scores = {name: history for name, history in person.scores.items() if name != event.model}
    if left:
        scores[event.model] = left
    return replace(person, scores=scores)


def merge(one: Person, other: Person, limits: PersonLimits) -> Person:
    """Return the union of two states of one person, within the limits."""
    scores = {
        model: add(one.scores.get(model, b""), other.scores.get(model, b""), limits.scores)
        for model in one.scores.keys() | other.scores.keys()
    }
    cut = max(one.cut, other.cut)
    facts = _union(one, other, cut)
    both = replace(one, scores=_bounded_scores(scores, limits), cut=cut)
    return _bounded(both, facts, sum(map(len, facts)), limits)


def facts_as_of(person: Person, at_ms: int, lookback_ms: int) -> tuple[Fact, ...]:
    """Return the facts at or before an instant and within the look-back from it, oldest first."""
    facts, start_ms = person.facts, at_ms - lookback_ms
    if facts and not start_ms <= time_of(facts[0]) <= time_of(facts[-1]) <= at_ms:
        first = bisect_left(facts, start_ms, key=time_of)
        facts = facts[first : bisect_right(facts, at_ms, key=time_of)]
    return tuple([decode_fact(encoded) for encoded in facts])


def reaches_dropped(person: Person, at_ms: int, lookback_ms: int, limits: PersonLimits) -> bool:
    """Return True where a look-back from an instant reaches facts that were, or may be, dropped."""
    start_ms = at_ms - lookback_ms
    if person.cut and start_ms <= time_of_sort_key(person.cut):
        return True
    return bool(person.facts) and start_ms < time_of(person.facts[-1]) - limits.keep_ms


def previous_score(person: Person, model: str, before_ms: int) -> PreviousScore | None:
    """Return the newest score of this model that was delivered with an earlier date."""
    return previous_in(person.scores.get(model, b""), before_ms)


def novelty(  # noqa: PLR0913  a score by model, date, id, content and record
    person: Person,
    model: str,
    *,
    scored_at_ms: int,
    event_id: str,
    digest: bytes,
    position: RecordPosition,
) -> Novelty:
    """Return whether this score was delivered before, or adds nothing to what was."""
    history = person.scores.get(model)
    if not history:
        return Novelty.NEW
    return novelty_in(history, scored_at_ms, event_id, digest, position)


def scores_since(person: Person, time_ms: int) -> int:
    """Return how many delivered scores are dated at or after an instant: a fact of it is late."""
    return sum(count_since(history, time_ms) for history in person.scores.values())


def _with_late_fact(person: Person, encoded: bytes, limits: PersonLimits) -> Person:
    """Return the person with a fact that is not newer than all others, or is there already."""
    facts, key, weight = list(person.facts), sort_key_of(encoded), person.weight
    if key <= person.cut or time_of(encoded) < time_of(facts[-1]) - limits.keep_ms:
        return person
    index = bisect_left(facts, key, key=sort_key_of)
    if index == len(facts) or sort_key_of(facts[index]) != key:
        facts.insert(index, encoded)
    elif _rank(encoded) > _rank(facts[index]):
        weight -= len(facts[index])
        facts[index] = encoded
    else:
        return person
    return _bounded(person, facts, weight + len(encoded), limits)


def _union(one: Person, other: Person, cut: bytes) -> list[bytes]:
    """Return the facts of both that are newer than the cut, ascending."""
    more, less = (one, other) if len(one.facts) > len(other.facts) else (other, one)
    if more.cut == cut and set(more.facts).issuperset(less.facts):
        return list(more.facts)  # the usual case, in which nothing is sorted
    facts: dict[bytes, bytes] = {}
    for encoded in (*one.facts, *other.facts):
        key = sort_key_of(encoded)
        same = facts.get(key)
        if key > cut and (same is None or _rank(same) < _rank(encoded)):
            facts[key] = encoded
    return [facts[key] for key in sorted(facts)]


def _bounded(person: Person, facts: list[bytes], weight: int, limits: PersonLimits) -> Person:
    """Return the person with these facts, the oldest dropped until every limit holds.

    A fact dropped for its age needs no cut: its age drops it again in every merge. One dropped for
    space moves the cut, else a merge with an older state would bring it back, and the result would
    depend on the order of merges. A cut older than `keep_ms` is cleared: age alone drops all facts
    up to it, and equal sets of facts are then equal states.
    """
    cut, drop = person.cut, 0
    oldest_ms = time_of(facts[-1]) - limits.keep_ms if facts else 0
    while facts and time_of(facts[drop]) < oldest_ms:
        weight -= len(facts[drop])
        drop += 1
    while len(facts) - drop > limits.facts or weight > limits.fact_bytes:
        weight -= len(facts[drop])
        cut = sort_key_of(facts[drop])
        drop += 1
    if cut and time_of_sort_key(cut) < oldest_ms:
        cut = b""
    left = tuple(facts[drop:] if drop else facts)
    return replace(person, facts=left, cut=cut, weight=weight)


def _without_texts(fact: Fact) -> Fact:
    """Return a fact that is too large, reduced to its time, a short id and whether it succeeded."""
    short_id = blake2b(fact.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Fact(fact.time_ms, short_id, success=fact.success)


def _bounded_scores(scores: dict[str, bytes], limits: PersonLimits) -> dict[str, bytes]:
    """Return the histories, the oldest entries dropped until all together fit."""
    if sum(map(len, scores.values())) <= limits.all_scores * ENTRY_BYTES:
        return scores
    entries = [(entry, model) for model, history in scores.items() for entry in split(history)]
    newest: dict[str, list[bytes]] = {}
    for entry, model in sorted(nlargest(limits.all_scores, entries)):
        newest.setdefault(model, []).append(entry)
    return {model: b"".join(history) for model, history in newest.items()}


def _rank(encoded: bytes) -> tuple[int, bytes]:
    """Return what decides between two facts with one sort key: size, then bytes."""
    return len(encoded), encoded
