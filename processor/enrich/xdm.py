"""The score event as XDM: Adobe's layout for the score, `scoreContext` beside it, nothing empty."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from processor.domain.score import Factor, Identity
from processor.enrich.context import MAX_TEXT, cached_rfc3339
from processor.enrich.prepared_score import PreparedScore

Event: TypeAlias = dict[str, Any]


def build(prepared: PreparedScore, context: Event, tenant_key: str, event_type: str) -> Event:
    """Return the event with `context` as its `scoreContext`; `tenant_key` has its underscore."""
    score = prepared.score
    score_date = cached_rfc3339(score.scored_at_ms)
    fields: Event = {"score": score.score + 0.0, "scoreDate": score_date}
    if score.probability is not None:
        fields["probability"] = score.probability + 0.0
    if score.percentile is not None:
        fields["percentileScore"] = score.percentile
    if score.model_type:
        fields["modelType"] = score.model_type[:MAX_TEXT]
    if score.factors:
        fields["influentialFactors"] = score.factors
    return {
        "_id": prepared.id,
        "timestamp": score_date,
        "eventType": event_type,
        "producedBy": "system",
        "identityMap": _identity_map(prepared.identities),
        tenant_key: {
            "CustomerAI": {prepared.route_model.model_key: fields},
            "scoreContext": context,
        },
    }


def _identity_map(identities: Sequence[Identity]) -> Event:
    """Return the map with the first identity as the primary one, each identity once."""
    first = identities[0]
    namespaces: dict[str, list[Event]] = {first.namespace: [{"id": first.id, "primary": True}]}
    for one in identities[1:]:
        listed = namespaces.get(one.namespace)
        if listed is None:
            namespaces[one.namespace] = [{"id": one.id}]
        elif all(other["id"] != one.id for other in listed):
            listed.append({"id": one.id})
    return namespaces


def normalised(factors: Iterable[Factor]) -> list[Event]:
    """Return factors with Adobe's keys only, text cut to size, and nothing empty."""
    return [fields for factor in factors if (fields := _normalised(factor))]


def _normalised(factor: Factor) -> Event:
    texts = (factor.get("code"), factor.get("value"), factor.get("importance"))
    parts = zip(("code", "value", "importance"), texts, strict=True)
    return {key: text[:MAX_TEXT] for key, text in parts if text}


def remove_fields(event: Event, paths: Iterable[Sequence[str]]) -> Event:
    """Remove the fields at these paths from an event, and what is empty then; return the event."""
    for path in paths:
        _remove(event, path)
    return event


def _remove(node: Event, path: Sequence[str]) -> None:
    name, *rest = path
    inner = node.get(name)
    if rest and isinstance(inner, dict):
        _remove(inner, rest)
    elif rest and inner is not None:
        # The list is that of the score, which must not change: its objects are copied.
        inner = node[name] = [part for item in inner if (part := _without_part(item, rest))]
    if not rest or inner in ({}, []):
        node.pop(name, None)


def _without_part(item: Event, path: Sequence[str]) -> Event:
    part = dict(item)
    _remove(part, path)
    return part
