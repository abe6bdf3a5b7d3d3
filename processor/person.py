"""What is known of a person: values only; merging is a semilattice.

Merging is commutative, associative and idempotent, bounds included, so any order of arrival and any
number of duplicates end in the same state. It holds because every bound keeps the newest of a set
in one fixed order and remembers how far it cut: what was dropped once stays dropped. Of two facts
with the same name the larger one in bytes is kept, so a union never weighs less than its parts.
"""

from bisect import bisect_left, bisect_right
from enum import StrEnum
from hashlib import blake2b
from heapq import nlargest
from operator import attrgetter
from typing import Final

import msgspec

from processor.delivered import (
    ENTRY_BYTES,
    DeliveredScore,
    Novelty,
    PreviousScore,
    add,
    count_since,
    novelty_in,
    pack,
    previous_in,
    split,
    take_out,
)
from processor.event import Fact

__all__ = [
    "ContextStatus",
    "DeliveredScore",
    "Limits",
    "Novelty",
    "Person",
    "PreviousScore",
    "facts_as_of",
    "merge",
    "novelty",
    "previous_score",
    "reaches_forgotten",
    "scores_since",
    "with_fact",
    "with_score",
    "without_score",
]

_TIME: Final = attrgetter("time_ms")
_NAME: Final = attrgetter("time_ms", "id")
_encode: Final = msgspec.msgpack.Encoder().encode


class ContextStatus(StrEnum):
    """How far a score event's context can be trusted; an analyst sees it as `contextStatus`."""

    COMPLETE = "complete"
    """Every experience event that was in Kafka before the score is taken into account."""
    PARTIAL = "partial"
    """Something is known to be missing: the score did not wait any longer for earlier events, or
    events within the look-back were forgotten."""
    NONE = "none"
    """All was read, and nothing is known of the person as of the score date."""
    OFF = "off"
    """The join is off: nothing was looked up."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """How much is remembered of one person; `JoinSettings.limits()` makes it.

    `fact_bytes` bounds all facts together, a fact larger than `one_fact_bytes` is kept without its
    texts; `scores` bounds the delivered scores of one model, `all_scores` those of all together.
    """

    keep_ms: int
    facts: int
    fact_bytes: int
    one_fact_bytes: int
    scores: int
    all_scores: int


class Person(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Recent facts, ascending and unique by `(time_ms, id)`, and the scores delivered by model.

    Positional on disk and on the wire: new fields go last, with a default. `scores` holds a packed
    history per model (`processor.delivered`); no caller changes it in place. `truncated_ms` and
    `truncated_id` name the newest fact that was dropped for space, if it is no older than
    `keep_ms`; no fact up to it is taken any more. `weight` is the size of the facts in bytes.
    """

    facts: tuple[Fact, ...] = ()
    scores: dict[str, bytes] = {}
    truncated_ms: int = 0
    truncated_id: str = ""
    weight: int = 0


def with_fact(person: Person, fact: Fact, limits: Limits) -> Person:
    """Return a person who has this fact too; the very same person where that changes nothing.

    A fact from before 1970 is none.
    """
    facts, size = person.facts, _size(fact)
    if size > limits.one_fact_bytes:
        fact = _slim(fact)
        size = _size(fact)
    name = fact.time_ms, fact.id
    if not facts or name > _NAME(facts[-1]):
        if name <= (person.truncated_ms, person.truncated_id) or fact.time_ms <= 0:
            return person
        return _bounded(person, [*facts, fact], person.weight + size, limits)
    return _with_late_fact(person, fact, size, limits)


def with_score(person: Person, model: str, delivered: DeliveredScore, limits: Limits) -> Person:
    """Return a person for whom this score is marked as delivered."""
    history = person.scores.get(model, b"")
    grown = add(history, pack(delivered), limits.scores)
    if grown == history:
        return person
    return _with_scores(person, _bounded_scores({**person.scores, model: grown}, limits))


def without_score(
    person: Person, model: str, *, scored_at_ms: int, event_id: str, digest: bytes
) -> Person:
    """Return a person for whom this content of a score is not marked as delivered."""
    left = take_out(person.scores.get(model, b""), scored_at_ms, event_id, digest)
    scores = {name: history for name, history in person.scores.items() if name != model}
    if left:
        scores[model] = left
    return _with_scores(person, scores)


def merge(one: Person, other: Person, limits: Limits) -> Person:
    """Return what both know together."""
    cut = max((one.truncated_ms, one.truncated_id), (other.truncated_ms, other.truncated_id))
    facts = {name: fact for fact in one.facts if (name := _NAME(fact)) > cut}
    for fact in other.facts:
        name = _NAME(fact)
        rival = facts.get(name)
        if rival is None and name > cut:
            facts[name] = fact
        elif rival is not None and rival != fact:
            facts[name] = max(rival, fact, key=_rank)
    scores = {
        model: add(one.scores.get(model, b""), other.scores.get(model, b""), limits.scores)
        for model in one.scores.keys() | other.scores.keys()
    }
    both = Person((), _bounded_scores(scores, limits), *cut)
    return _bounded(
        both, [facts[name] for name in sorted(facts)], sum(map(_size, facts.values())), limits
    )


def facts_as_of(person: Person, at_ms: int, lookback_ms: int) -> tuple[Fact, ...]:
    """Return the facts at or before an instant and within the look-back from it, oldest first."""
    facts = person.facts
    first = bisect_left(facts, at_ms - lookback_ms, key=_TIME)
    return facts[first : bisect_right(facts, at_ms, key=_TIME)]


def reaches_forgotten(person: Person, at_ms: int, lookback_ms: int, limits: Limits) -> bool:
    """Return True where a look-back from an instant reaches facts that were, or may be, dropped."""
    start_ms = at_ms - lookback_ms
    if person.truncated_ms and start_ms <= person.truncated_ms:
        return True
    return bool(person.facts) and start_ms < person.facts[-1].time_ms - limits.keep_ms


def previous_score(person: Person, model: str, before_ms: int) -> PreviousScore | None:
    """Return the newest score of this model that was delivered with an earlier date."""
    return previous_in(person.scores.get(model, b""), before_ms)


def novelty(
    person: Person, model: str, *, scored_at_ms: int, event_id: str, digest: bytes
) -> Novelty:
    """Return whether this score was delivered before, and with this content."""
    history = person.scores.get(model)
    return novelty_in(history, scored_at_ms, event_id, digest) if history else Novelty.NEW


def scores_since(person: Person, time_ms: int) -> int:
    """Return how many delivered scores are dated at or after an instant: a fact of it is late."""
    return sum(count_since(history, time_ms) for history in person.scores.values())


def _with_late_fact(person: Person, fact: Fact, size: int, limits: Limits) -> Person:
    """Return the person with a fact that is not the newest, or is known by name already."""
    facts, name, weight = list(person.facts), (fact.time_ms, fact.id), person.weight
    cut = person.truncated_ms, person.truncated_id
    if name <= cut or fact.time_ms <= 0 or fact.time_ms < facts[-1].time_ms - limits.keep_ms:
        return person
    at = bisect_left(facts, name, key=_NAME)
    if _NAME(facts[at]) != name:
        facts.insert(at, fact)
    elif fact == facts[at] or _rank(fact) < _rank(facts[at]):
        return person
    else:
        weight -= _size(facts[at])
        facts[at] = fact
    return _bounded(person, facts, weight + size, limits)


def _bounded(person: Person, facts: list[Fact], weight: int, limits: Limits) -> Person:
    """Return the person with these facts, the oldest dropped until every limit holds."""
    floor_ms = facts[-1].time_ms - limits.keep_ms if facts else person.truncated_ms
    cut = person.truncated_ms, person.truncated_id
    drop = 0
    while facts and facts[drop].time_ms < floor_ms:
        weight -= _size(facts[drop])
        drop += 1
    while len(facts) - drop > limits.facts or weight > limits.fact_bytes:
        weight -= _size(facts[drop])
        cut = _NAME(facts[drop])
        drop += 1
    if cut[0] < floor_ms:
        cut = 0, ""
    return Person(tuple(facts[drop:] if drop else facts), person.scores, *cut, weight)


def _slim(fact: Fact) -> Fact:
    """Return a fact too large to be kept as it is, reduced to when, whether, and a short name."""
    name = blake2b(fact.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Fact(fact.time_ms, name, success=fact.success)


def _with_scores(person: Person, scores: dict[str, bytes]) -> Person:
    return Person(person.facts, scores, person.truncated_ms, person.truncated_id, person.weight)


def _bounded_scores(scores: dict[str, bytes], limits: Limits) -> dict[str, bytes]:
    """Return the histories, the oldest entries dropped until all together fit."""
    if sum(map(len, scores.values())) <= limits.all_scores * ENTRY_BYTES:
        return scores
    entries = [(entry, model) for model, history in scores.items() for entry in split(history)]
    kept: dict[str, list[bytes]] = {}
    for entry, model in sorted(nlargest(limits.all_scores, entries)):
        kept.setdefault(model, []).append(entry)
    return {model: b"".join(history) for model, history in kept.items()}


def _size(fact: Fact) -> int:
    return len(_encode(fact))


def _rank(fact: Fact) -> tuple[int, bytes]:
    encoded = _encode(fact)
    return len(encoded), encoded
