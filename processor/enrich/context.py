"""The context of a score: person state as of the score date, whatever the processing time.

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
"""Text of a context is cut to this many characters, text of factors only where it must be."""
_MAX_AUDIENCES = 50

_LISTS = frozenset({"productListViews", "productListOpens", "productListRemovals"})
_COMMERCE = _LISTS | {"order", "productViews", "checkouts", "purchases"}
_WEB = frozenset({"webVisit", "webInteraction", "search"})
_USAGE = frozenset({"launches", "firstLaunches", "featureUsages", "crashes", "applicationCloses"})
STANDARD_KINDS = _COMMERCE | _WEB | _USAGE | {"installs", "upgrades"}
"""Standard event types (AEP, Customer AI "data requirements"): the keys of `eventCounts`."""

_TEXTS = ("lastPageName", "lastCampaign", "lastOrderId", "cohort")

cached_rfc3339 = lru_cache(maxsize=4_096)(rfc3339)
"""`rfc3339` with a cache: a scoring run has one date."""


class Lookback(msgspec.Struct, frozen=True, gc=False):
    """How far back a context looks, the limits of the person state, and the success types."""

    ms: int
    limits: PersonLimits
    success_types: frozenset[str]

    @classmethod
    def from_settings(cls, join: JoinSettings) -> "Lookback":
        """Return the look-back of the settings."""
        return cls(
            join.lookback_days * DAY_MS, PersonLimits.of(join), frozenset(join.success_types)
        )


def past_fields(prepared: PreparedScore, person: Person, lookback: Lookback) -> dict[str, Any]:
    """Return the fields of `scoreContext` that the person state gives; empty where it is empty."""
    found: dict[str, Any] = {}
    as_of_ms = prepared.score.scored_at_ms
    if person.scores:
        previous = previous_score(person, prepared.route_model.model_key, as_of_ms)
        if previous is not None:
            _add_history(found, prepared, previous)
    if person.facts and (facts := facts_as_of(person, as_of_ms, lookback.ms)):
        _add_behaviour(found, facts[::-1], as_of_ms)
        _add_success(found, facts[::-1], lookback.success_types)
    return found


def context_status(
    prepared: PreparedScore, person: Person, lookback: Lookback, *, found: bool
) -> ContextStatus:
    """Return the status of the context of a score that waited for all earlier events.

    It is `partial` where the look-back reaches facts that the person state has dropped, and `none`
    where nothing was `found`.
    """
    as_of_ms = prepared.score.scored_at_ms
    if reaches_dropped(person, as_of_ms, lookback.ms, lookback.limits):
        return ContextStatus.PARTIAL
    return ContextStatus.COMPLETE if found else ContextStatus.NONE


def bucket_movement(previous: str, current: str) -> str:
    """Return the move between two buckets: `stayed low`, `low to high`; nine values in all."""
    return f"stayed {current}" if previous == current else f"{previous} to {current}"


def _add_history(found: dict[str, Any], prepared: PreparedScore, previous: PreviousScore) -> None:
    found["previousScore"] = previous.score
    found["previousBucket"] = previous.bucket
    found["previousScoreDate"] = cached_rfc3339(previous.scored_at_ms)
    # A difference of binary fractions is off in the last digits (0.3 - 0.1); scores have fewer
    # than ten decimals.
    found["scoreChange"] = round(prepared.score.score - previous.score, 10)
    found["bucketMovement"] = bucket_movement(previous.bucket, prepared.bucket)


def _add_behaviour(found: dict[str, Any], newest_first: Sequence[Fact], as_of_ms: int) -> None:
    last = newest_first[0]
    if event_type := _event_type(last):
        found["lastEventType"] = event_type
    found["lastEventTimestamp"] = cached_rfc3339(last.time_ms)
    found["daysSinceLastEvent"] = (as_of_ms - last.time_ms) // DAY_MS
    _add_newest(found, newest_first)
    if counts := _counts(newest_first):
        found["eventCounts"] = counts


def _add_newest(found: dict[str, Any], newest_first: Sequence[Fact]) -> None:
    """Add each field from the newest fact that has it, in one pass."""
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
        if event_type := _success_type(success, success_types):
            found["lastSuccessEventType"] = event_type[:MAX_TEXT]
        found["lastSuccessEventTimestamp"] = cached_rfc3339(success.time_ms)


def _success_type(fact: Fact, success_types: AbstractSet[str]) -> str:
    """Return what makes a fact a success: one of its kinds, or else its declared type.

    A fact that was stored under earlier settings may have neither; then it is its event type.
    """
    for kind in fact.kinds:
        if kind in success_types:
            return kind
    return fact.type if fact.type in success_types else _event_type(fact)


def _event_type(fact: Fact) -> str:
    """Return the event type of a fact, in one spelling for one kind of event.

    It is the declared type where that is a standard spelling: a dotted name as XDM has them
    (`commerce.purchases`), or one of the kinds of the event. Another one (`web - pageview`) is
    replaced by the first standard kind of the event; without a standard kind it stays.
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
    if counts.keys() <= STANDARD_KINDS:  # event types of the settings are not counted
        return counts
    return {kind: count for kind, count in counts.items() if kind in STANDARD_KINDS}
