"""What is known of a person: values only; merging is a semilattice.

Merging is commutative, associative and idempotent, bounds included, so any order of arrival and any
number of duplicates end in the same state. It holds because every bound keeps the newest of a set
in one fixed order and remembers how far it cut: what was dropped once stays dropped. Of two facts
with the same name the larger one in bytes is kept, so a union never weighs less than its parts.
"""

from bisect import bisect_left, bisect_right
from hashlib import blake2b
from heapq import nlargest

import msgspec

from processor.domain.event import Fact
from processor.settings import JoinSettings
from processor.state.format.fact import EARLIEST_MS, instant_of, name_of, pack, time_of, unpack
from processor.state.format.score_history import (
    ENTRY_BYTES,
    DeliveredScore,
    Novelty,
    PreviousScore,
    add,
    count_since,
    novelty_in,
    previous_in,
    split,
    take_out,
)
from processor.state.format.score_history import pack as pack_score


class PersonLimits(msgspec.Struct, frozen=True, gc=False):
    """How much is remembered of one person.

    `fact_bytes` bounds all facts together, a fact larger than `one_fact_bytes` is kept without its
    texts; `scores` bounds the delivered scores of one model, `all_scores` those of all together.
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

    Positional on disk and on the wire: new fields go last, with a default. `facts` are packed
    (`state.format.fact`), `scores` are packed histories (`state.format.score_history`), which no
    caller changes in place. `cut` is the time and id of the newest fact dropped for space: facts up
    to it are not taken any more; empty where everything kept is newer. `weight` is the size of all
    facts in bytes.
    """

    facts: tuple[bytes, ...] = ()
    scores: dict[str, bytes] = {}
    cut: bytes = b""
    weight: int = 0


def with_fact(person: Person, fact: Fact, limits: PersonLimits) -> Person:
    """Return a person who has this fact too; the very same person where that changes nothing.

    Where two facts have one name, the larger one stays. Facts before `EARLIEST_MS` are none.
    """
    kept, facts = pack(fact), person.facts
    if fact.time_ms < EARLIEST_MS:
        return person
    if len(kept) > limits.one_fact_bytes:
        kept = pack(_slim(fact))
    if facts and instant_of(kept) <= instant_of(facts[-1]):
        return _with_late_fact(person, kept, limits)
    if name_of(kept) <= person.cut:
        return person
    return _bounded(person, [*facts, kept], person.weight + len(kept), limits)


def with_score(
    person: Person, model: str, delivered: DeliveredScore, limits: PersonLimits
) -> Person:
    """Return a person for whom this score is marked as delivered."""
    history = person.scores.get(model, b"")
    grown = add(history, pack_score(delivered), limits.scores)
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


def merge(one: Person, other: Person, limits: PersonLimits) -> Person:
    """Return what both know together."""
    scores = {
        model: add(one.scores.get(model, b""), other.scores.get(model, b""), limits.scores)
        for model in one.scores.keys() | other.scores.keys()
    }
    cut = max(one.cut, other.cut)
    facts = _union(one, other, cut)
    both = Person((), _bounded_scores(scores, limits), cut)
    return _bounded(both, facts, sum(map(len, facts)), limits)


def facts_as_of(person: Person, at_ms: int, lookback_ms: int) -> tuple[Fact, ...]:
    """Return the facts at or before an instant and within the look-back from it, oldest first."""
    facts, start_ms = person.facts, at_ms - lookback_ms
    if facts and not start_ms <= time_of(facts[0]) <= time_of(facts[-1]) <= at_ms:
        first = bisect_left(facts, start_ms, key=time_of)
        facts = facts[first : bisect_right(facts, at_ms, key=time_of)]
    return tuple([unpack(kept) for kept in facts])


def reaches_forgotten(person: Person, at_ms: int, lookback_ms: int, limits: PersonLimits) -> bool:
    """Return True where a look-back from an instant reaches facts that were, or may be, dropped."""
    start_ms = at_ms - lookback_ms
    if person.cut and start_ms <= time_of(b"\0" + person.cut):
        return True
    return bool(person.facts) and start_ms < time_of(person.facts[-1]) - limits.keep_ms


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


def _with_late_fact(person: Person, kept: bytes, limits: PersonLimits) -> Person:
    """Return the person with a fact that is not the newest, or is known by name already."""
    facts, name, weight = list(person.facts), name_of(kept), person.weight
    if name <= person.cut or time_of(kept) < time_of(facts[-1]) - limits.keep_ms:
        return person
    at = bisect_left(facts, name, key=name_of)
    if at == len(facts) or name_of(facts[at]) != name:
        facts.insert(at, kept)
    elif _rank(kept) > _rank(facts[at]):
        weight -= len(facts[at])
        facts[at] = kept
    else:
        return person
    return _bounded(person, facts, weight + len(kept), limits)


def _union(one: Person, other: Person, cut: bytes) -> list[bytes]:
    """Return the facts of both that are newer than the cut, ascending."""
    more, less = (one, other) if len(one.facts) > len(other.facts) else (other, one)
    if more.cut == cut and set(more.facts).issuperset(less.facts):
        return list(more.facts)
    facts: dict[bytes, bytes] = {}
    for kept in (*one.facts, *other.facts):
        name = name_of(kept)
        rival = facts.get(name)
        if name > cut and (rival is None or _rank(rival) < _rank(kept)):
            facts[name] = kept
    return [facts[name] for name in sorted(facts)]


def _bounded(person: Person, facts: list[bytes], weight: int, limits: PersonLimits) -> Person:
    """Return the person with these facts, the oldest dropped until every limit holds."""
    cut, drop = person.cut, 0
    floor_ms = time_of(facts[-1]) - limits.keep_ms if facts else 0
    while facts and time_of(facts[drop]) < floor_ms:
        weight -= len(facts[drop])
        drop += 1
    while len(facts) - drop > limits.facts or weight > limits.fact_bytes:
        weight -= len(facts[drop])
        cut = name_of(facts[drop])
        drop += 1
    if cut and time_of(b"\0" + cut) < floor_ms:
        cut = b""
    return Person(tuple(facts[drop:] if drop else facts), person.scores, cut, weight)


def _slim(fact: Fact) -> Fact:
    """Return a fact too large to be kept as it is, reduced to when, whether, and a short name."""
    name = blake2b(fact.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Fact(fact.time_ms, name, success=fact.success)


def _with_scores(person: Person, scores: dict[str, bytes]) -> Person:
    return Person(person.facts, scores, person.cut, person.weight)


def _bounded_scores(scores: dict[str, bytes], limits: PersonLimits) -> dict[str, bytes]:
    """Return the histories, the oldest entries dropped until all together fit."""
    if sum(map(len, scores.values())) <= limits.all_scores * ENTRY_BYTES:
        return scores
    entries = [(entry, model) for model, history in scores.items() for entry in split(history)]
    kept: dict[str, list[bytes]] = {}
    for entry, model in sorted(nlargest(limits.all_scores, entries)):
        kept.setdefault(model, []).append(entry)
    return {model: b"".join(history) for model, history in kept.items()}


def _rank(kept: bytes) -> tuple[int, bytes]:
    return len(kept), kept
