"""A score as Customer AI meant it, whatever bytes it came in."""

from typing import TypedDict

import msgspec

__all__ = ["Factor", "Identity", "Score"]


class Identity(msgspec.Struct, frozen=True, gc=False):
    """One identity: namespace symbol in its configured spelling, and an id that stays a string."""

    namespace: str
    id: str
    primary: bool = False


class Factor(TypedDict, total=False):
    """One influential factor, with Adobe's key names; a key without a value is left out."""

    code: str
    value: str
    importance: str


class Score(msgspec.Struct, frozen=True):
    """One person's score by one model at one scoring run.

    Source: Customer AI output fields (AEP, Customer AI "input and output"). `score` is 0-100 and
    relative, `probability` 0-1 and true, `percentile` 1-100. `scored_at_ms` is the instant of the
    scoreDate as epoch milliseconds. `model` is the name as the record spells it.
    """

    model: str
    identities: tuple[Identity, ...]
    score: float
    scored_at_ms: int
    probability: float | None = None
    percentile: int | None = None
    model_type: str | None = None
    factors: tuple[Factor, ...] = ()
