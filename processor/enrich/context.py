"""What was known of a person as of a score date: history and behaviour, never processing time.

A fact counts where it is at or before the score date and no older than the look-back; the previous
score is the newest delivered one of the prediction with an earlier score date.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import msgspec

from processor.domain.clock import rfc3339
from processor.domain.event import Fact
from processor.domain.outcome import ContextStatus
from processor.enrich.prepared_score import PreparedScore
from processor.enrich.score_rules import DAY_MS
from processor.settings import JoinSettings
from processor.state.format.score_history import PreviousScore
from processor.state.person import (
    Person,
    PersonLimits,
    facts_as_of,
    previous_score,
    reaches_dropped,
)

MAX_TEXT = 512
"""Text of a context is cut to so many characters; that of factors where it has to be."""
_MAX_AUDIENCES = 50

_LISTS = frozenset({"productListViews", "productListOpens", "productListRemovals"})
_COMMERCE = _LISTS | {"order", "productViews", "checkouts", "purchases"}
_WEB = frozenset({"webVisit", "webInteraction", "search"})
_USE = frozenset({"launches", "firstLaunches", "featureUsages", "crashes", "applicationCloses"})
STANDARD_KINDS = _COMMERCE | _WEB | _USE | {"installs", "upgrades"}
"""Standard event types (AEP, Customer AI "data requirements"): the keys of `eventCounts`."""

_TEXTS = ("lastPageName", "lastCampaign", "lastOrderId", "cohort")

instant = lru_cache(maxsize=4_096)(rfc3339)
"""`rfc3339`, remembered: a scoring run has one date."""


class Lookback(msgspec.Struct, frozen=True, gc=False):
    """How far back a context looks, the limits of what is kept, and what counts as success."""

    ms: int
    limits: PersonLimits
    success_types: frozenset[str]

    @classmethod
    def of(cls, join: JoinSettings) -> "Lookback":
        """Take them from the settings."""
        return cls(
            join.lookback_days * DAY_MS, PersonLimits.of(join), frozenset(join.success_types)
        )


def past(prepared: PreparedScore, known: Person, lookback: Lookback) -> dict[str, Any]:
    """Return the fields of `scoreContext` that speak of the past; empty: nothing is known."""
    found: dict[str, Any] = {}
    at_ms = prepared.score.scored_at_ms
    if known.scores:
        previous = previous_score(known, prepared.destination.model_key, at_ms)
        if previous is not None:
            _add_history(found, prepared, previous)
    if known.facts and (facts := facts_as_of(known, at_ms, lookback.ms)):
        _add_behaviour(found, facts[::-1], at_ms)
        _add_success(found, facts[::-1], lookback.success_types)
    return found


def standing(
    prepared: PreparedScore, known: Person, lookback: Lookback, *, found: bool
) -> ContextStatus:
    """Return what a context comes to for which the score waited as long as it had to."""
    at_ms = prepared.score.scored_at_ms
    if reaches_dropped(known, at_ms, lookback.ms, lookback.limits):
        return ContextStatus.PARTIAL
    return ContextStatus.COMPLETE if found else ContextStatus.NONE


def movement(previous: str, current: str) -> str:
    """Name a move between buckets: `stayed low`, `low to high`; nine values in all."""
    return f"stayed {current}" if previous == current else f"{previous} to {current}"


def _add_history(found: dict[str, Any], prepared: PreparedScore, previous: PreviousScore) -> None:
    found["previousScore"] = previous.score
    found["previousBucket"] = previous.bucket
    found["previousScoreDate"] = instant(previous.scored_at_ms)
    # Ten decimals take away what binary fractions add, and nothing that was meant.
    found["scoreChange"] = round(prepared.score.score - previous.score, 10)
    found["bucketMovement"] = movement(previous.bucket, prepared.bucket)


def _add_behaviour(found: dict[str, Any], newest_first: Sequence[Fact], at_ms: int) -> None:
    last = newest_first[0]
    if kind := _type_of(last):
        found["lastEventType"] = kind
    found["lastEventTimestamp"] = instant(last.time_ms)
    found["daysSinceLastEvent"] = (at_ms - last.time_ms) // DAY_MS
    _add_newest(found, newest_first)
    if counts := _counts(newest_first):
        found["eventCounts"] = counts


def _add_newest(found: dict[str, Any], newest_first: Sequence[Fact]) -> None:
    """Add what the newest fact says that says anything of it, field by field, in one pass."""
    page = campaign = order_id = cohort = ""
    audiences: tuple[str, ...] = ()
    for fact in newest_first:
        page = page or fact.page
        campaign = campaign or fact.campaign
        order_id = order_id or fact.order_id
        cohort = cohort or fact.cohort
        audiences = audiences or fact.audiences
    for name, text in zip(_TEXTS, (page, campaign, order_id, cohort), strict=True):
        if text:
            found[name] = text[:MAX_TEXT]
    if listed := [text[:MAX_TEXT] for text in audiences[:_MAX_AUDIENCES] if text]:
        found["audiences"] = listed


def _add_success(
    found: dict[str, Any], newest_first: Sequence[Fact], success_types: AbstractSet[str]
) -> None:
    success = next((fact for fact in newest_first if fact.success), None)
    if success is not None:
        if kind := _success_of(success, success_types):
            found["lastSuccessEventType"] = kind[:MAX_TEXT]
        found["lastSuccessEventTimestamp"] = instant(success.time_ms)


def _success_of(fact: Fact, success_types: AbstractSet[str]) -> str:
    """Return what makes a fact a success: one of its kinds, or else its declared type.

    A fact that was kept under other settings than today's may have neither; it is told by its type.
    """
    for kind in fact.kinds:
        if kind in success_types:
            return kind
    return fact.type if fact.type in success_types else _type_of(fact)


def _type_of(fact: Fact) -> str:
    """Return the type a fact is told by, so that one thing is not told in many spellings.

    That is the declared type where it is a standard spelling: a dotted name as XDM has them
    (`commerce.purchases`), or what the event counts for. Another one (`web - pageview`) gives way
    to the first standard type the event counts for; where there is none it is kept.
    """
    declared, kinds = fact.type, fact.kinds
    if declared in kinds or ("." in declared and " " not in declared):
        return declared[:MAX_TEXT]
    for kind in kinds:
        if kind in STANDARD_KINDS:
            return kind
    return declared[:MAX_TEXT] or (kinds[0] if kinds else "")


def _counts(facts: Sequence[Fact]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for fact in facts:
        for kind in fact.kinds:
            counts[kind] = counts.get(kind, 0) + 1
    if counts.keys() <= STANDARD_KINDS:
        return counts
    return {kind: count for kind, count in counts.items() if kind in STANDARD_KINDS}
