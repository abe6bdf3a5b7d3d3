"""The score event as XDM: Adobe's layout for the score, our context beside it, nothing empty."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from processor.domain.score import Factor, Identity
from processor.enrich.context import MAX_TEXT, instant
from processor.enrich.prepared_score import PreparedScore

Event: TypeAlias = dict[str, Any]


def build(prepared: PreparedScore, context: Event, tenant_key: str, event_type: str) -> Event:
    """Return the event with `context` as its `scoreContext`; `tenant_key` has its underscore."""
    score = prepared.score
    score_date = instant(score.scored_at_ms)
    leaves: Event = {"score": score.score + 0.0, "scoreDate": score_date}
    if score.probability is not None:
        leaves["probability"] = score.probability + 0.0
    if score.percentile is not None:
        leaves["percentileScore"] = score.percentile
    if score.model_type:
        leaves["modelType"] = score.model_type[:MAX_TEXT]
    if score.factors:
        leaves["influentialFactors"] = score.factors
    return {
        "_id": prepared.id,
        "timestamp": score_date,
        "eventType": event_type,
        "producedBy": "system",
        "identityMap": _identity_map(prepared.identities),
        tenant_key: {
            "CustomerAI": {prepared.destination.model_key: leaves},
            "scoreContext": context,
        },
    }


def _identity_map(identities: Sequence[Identity]) -> Event:
    """Return the map with the first identity as the primary one, each identity once."""
    first = identities[0]
    namespaces: dict[str, list[Event]] = {first.namespace: [{"id": first.id, "primary": True}]}
    for one in identities[1:]:
        beside = namespaces.get(one.namespace)
        if beside is None:
            namespaces[one.namespace] = [{"id": one.id}]
        elif all(other["id"] != one.id for other in beside):
            beside.append({"id": one.id})
    return namespaces


def tidied(factors: Iterable[Factor]) -> list[Event]:
    """Return factors with Adobe's keys only, text cut to size, and nothing empty."""
    return [kept for factor in factors if (kept := _tidied(factor))]


def _tidied(factor: Factor) -> Event:
    texts = (factor.get("code"), factor.get("value"), factor.get("importance"))
    named = zip(("code", "value", "importance"), texts, strict=True)
    return {key: text[:MAX_TEXT] for key, text in named if text}


def without(event: Event, paths: Iterable[Sequence[str]]) -> Event:
    """Take the fields at these paths out of an event, and what is empty then; return the event."""
    for path in paths:
        _drop(event, path)
    return event


def _drop(node: Event, path: Sequence[str]) -> None:
    name, *rest = path
    inner = node.get(name)
    if rest and isinstance(inner, dict):
        _drop(inner, rest)
    elif rest and inner is not None:
        # The list is the score's own: its objects are copied, never changed.
        inner = node[name] = [kept for item in inner if (kept := _without_part(item, rest))]
    if not rest or inner in ({}, []):
        node.pop(name, None)


def _without_part(item: Event, path: Sequence[str]) -> Event:
    kept = dict(item)
    _drop(kept, path)
    return kept
