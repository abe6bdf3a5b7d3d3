"""The expected score events, computed from the input in the slow and obvious way.

Shares no code with the processor: json, hashlib and datetime only, one dictionary per person, a
list that is searched from end to end. It is correct for input in which every experience event
comes before the scores whose context has it, in the forms that `tests/support/workload.py` writes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_DAY_MS = 86_400_000
_LOOKBACK_MS = 45 * _DAY_MS
_Json = dict[str, Any]


def expected(
    events: Iterable[bytes], scores: Iterable[bytes], *, tenant: str, cohort: Sequence[str]
) -> dict[str, _Json]:
    """Return the XDM events that must be accepted, by `_id`.

    `events` and `scores` are record values; scores in the order in which they are read. `cohort` is
    the path of the cohort attribute. A score that comes again counts once, as it came first.
    """
    past = _by_person(map(_loads, events), cohort)
    sent: dict[str, _Json] = {}
    before: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for record in map(_loads, scores):
        ecid = record["identityMap"]["ECID"][0]["id"]
        for model, leaves in _models(record, tenant):
            at_ms, value = _millis(leaves["scoreDate"]), leaves["score"]
            name = _name(tenant, model, ecid, at_ms)
            if name in sent:
                continue
            history = before.setdefault((ecid, model), [])
            context = {"predictionName": model, "scoreBucket": _bucket(value)}
            found = _history(history, at_ms, value) | _behaviour(past.get(ecid, []), at_ms)
            context |= found | {"contextStatus": "complete" if found else "none"}
            sent[name] = _event(
                name, ecid, at_ms, f"_{tenant}", ({model: _leaves(leaves, at_ms)}, context)
            )
            history.append((at_ms, value))
    return sent


def names_of(value: bytes, *, tenant: str) -> list[str]:
    """Return the `_id`s of the events that a score record must become."""
    record = _loads(value)
    ecid = record["identityMap"]["ECID"][0]["id"]
    return [
        _name(tenant, model, ecid, _millis(leaves["scoreDate"]))
        for model, leaves in _models(record, tenant)
    ]


def _loads(value: bytes) -> _Json:
    record: _Json = json.loads(value)
    return record["body"]["xdmEntity"] if "body" in record else record


def _name(tenant: str, model: str, ecid: str, at_ms: int) -> str:
    parts = "".join(f"{len(part)}:{part}" for part in (tenant, model, "ECID", ecid))
    return hashlib.sha256(f"score-event/1|{parts}{at_ms}".encode()).hexdigest()


def _event(name: str, ecid: str, at_ms: int, key: str, content: tuple[_Json, _Json]) -> _Json:
    models, context = content
    return {
        "_id": name,
        "timestamp": _text(at_ms),
        "eventType": "customerAI.scored",
        "producedBy": "system",
        "identityMap": {"ECID": [{"id": ecid, "primary": True}]},
        key: {"CustomerAI": models, "scoreContext": context},
    }


def _models(record: _Json, tenant: str) -> list[tuple[str, _Json]]:
    if "prediction" in record:
        return [(record["prediction"], record)]
    (models,) = record[f"_{tenant}"].values()
    return list(models.items())


def _leaves(leaves: _Json, at_ms: int) -> _Json:
    fields = {"score": leaves["score"], "scoreDate": _text(at_ms)}
    for ours, theirs in (
        ("probability", "probability"),
        ("percentileScore", "percentileScore"),
        ("percentileScore", "percentile"),
        ("modelType", "modelType"),
        ("influentialFactors", "influentialFactors"),
    ):
        if theirs in leaves:
            fields[ours] = leaves[theirs]
    return fields


def _history(history: list[tuple[int, float]], at_ms: int, value: float) -> _Json:
    earlier = [one for one in history if one[0] < at_ms]
    if not earlier:
        return {}
    date, score = max(earlier)
    old, new = _bucket(score), _bucket(value)
    return {
        "previousScore": score,
        "previousBucket": old,
        "previousScoreDate": _text(date),
        "scoreChange": round(value - score, 10),
        "bucketMovement": f"stayed {new}" if old == new else f"{old} to {new}",
    }


def _behaviour(facts: list[_Json], at_ms: int) -> _Json:
    seen = [fact for fact in facts if at_ms - _LOOKBACK_MS <= fact["time_ms"] <= at_ms]
    if not seen:
        return {}
    seen.sort(key=lambda fact: (fact["time_ms"], fact["id"]), reverse=True)
    found = {
        "lastEventType": _last_type(seen[0]),
        "lastEventTimestamp": _text(seen[0]["time_ms"]),
        "daysSinceLastEvent": (at_ms - seen[0]["time_ms"]) // _DAY_MS,
        "eventCounts": dict(Counter(kind for fact in seen for kind in fact["kinds"])),
    }
    for key, name in (
        ("lastPageName", "page"),
        ("lastCampaign", "campaign"),
        ("lastOrderId", "order"),
        ("cohort", "cohort"),
    ):
        values = [fact[name] for fact in seen if fact[name]]
        found |= {key: values[0]} if values else {}
    for fact in seen:
        successes = [kind for kind in ("order", "purchases") if kind in fact["kinds"]]
        if successes:
            last = {"lastSuccessEventType": successes[0]}
            return found | last | {"lastSuccessEventTimestamp": _text(fact["time_ms"])}
    return found


def _last_type(fact: _Json) -> str:
    """Return the declared type in a standard spelling, else the first kind."""
    declared: str = fact["type"]
    if declared in fact["kinds"] or (declared.count(".") > 0 and declared.count(" ") == 0):
        return declared
    return min(fact["kinds"], default=declared)


def _by_person(events: Iterable[_Json], cohort: Sequence[str]) -> dict[str, list[_Json]]:
    people: dict[str, dict[str, _Json]] = {}
    for event in events:
        if "identityMap" in event:
            ecid = event["identityMap"]["ECID"][0]["id"]
        else:
            ecid = event["endUserIDs"]["_experience"]["mcid"]["id"]
        people.setdefault(ecid, {})[event["_id"]] = _fact(event, cohort)
    return {ecid: list(facts.values()) for ecid, facts in people.items()}


def _fact(event: _Json, cohort: Sequence[str]) -> _Json:
    return {
        "id": event["_id"],
        "time_ms": _millis(event["timestamp"]),
        "type": event["eventType"],
        "kinds": _kinds(event),
        "page": _at(event, ("web", "webPageDetails", "name")),
        "campaign": _at(event, ("marketing", "trackingCode")),
        "order": _at(event, ("commerce", "order", "purchaseID")),
        "cohort": _at(event, cohort),
    }


def _kinds(event: _Json) -> list[str]:
    kinds = {
        "purchases": _at(event, ("commerce", "purchases", "value")),
        "productViews": _at(event, ("commerce", "productViews", "value")),
        "order": _at(event, ("commerce", "order", "purchaseID")),
        "launches": _at(event, ("application", "launches", "value")),
        "webVisit": _at(event, ("web", "webPageDetails", "name")),
        "search": _at(event, ("search", "keywords")),
    }
    return [kind for kind, there in kinds.items() if there]


def _at(event: _Json, path: Sequence[str]) -> Any:  # noqa: ANN401  whatever is there
    node: Any = event
    for step in path:
        node = node.get(step, {})
    return node or None


def _bucket(score: float) -> str:
    if score < 25:
        return "low"
    return "high" if score >= 75 else "medium"


def _millis(date: str | int) -> int:
    if isinstance(date, int):
        return date if date > 10**11 else date * 1_000
    time = datetime.fromisoformat(date)
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1_000)


def _text(millis: int) -> str:
    time = datetime.fromtimestamp(millis / 1_000, UTC)
    fraction = f".{millis % 1_000:03d}" if millis % 1_000 else ""
    return f"{time:%Y-%m-%dT%H:%M:%S}{fraction}Z"
