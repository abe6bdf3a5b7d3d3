"""What is known of a person: values only; merging is a semilattice.

Merging facts and scores is commutative, associative and idempotent, so any order of arrival and any
number of duplicates end in the same state.
"""

import msgspec

from processor.event import Fact

__all__ = ["DeliveredScore", "Person"]


class DeliveredScore(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A score event that the inlet accepted. `digest` names the content of the score itself."""

    scored_at_ms: int
    id: str
    digest: bytes
    score: float
    bucket: str


class Person(msgspec.Struct, frozen=True, array_like=True):
    """Recent facts, ascending by `(time_ms, id)`, and the last delivered scores of each model.

    `truncated_ms` is the time of the newest fact that was dropped for space (0 = none): a context
    whose look-back reaches it is known to be incomplete.
    """

    facts: tuple[Fact, ...] = ()
    scores: dict[str, tuple[DeliveredScore, ...]] = {}
    truncated_ms: int = 0
