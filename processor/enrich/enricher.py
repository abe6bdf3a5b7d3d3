"""A score and the state of its person become one XDM ExperienceEvent.

prepare: route, check, identify, `_id`    (from the score alone)
events:  context, build
encode:  validate, encode

The event has Adobe's layout for the score, `scoreContext` beside it, and nothing empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import ContextStatus, Reason, Reject, Stage
from processor.domain.score import Factor, Identity, Score
from processor.enrich.context import MAX_TEXT, Lookback, cached_rfc3339, context_status, past_fields
from processor.enrich.event_schema import EventSchema
from processor.enrich.prepared_score import PreparedScore, digest, event_id
from processor.enrich.primary_identity import PrimaryIdentity, person_key
from processor.enrich.routing import Router
from processor.enrich.score_rules import DAY_MS, ScoreRules
from processor.settings import Settings
from processor.state.person import Person

Event: TypeAlias = dict[str, Any]

_NO_STATE = Person()
_NO_FIELDS: Event = {}
_COMPLETE, _OFF = ContextStatus.COMPLETE, ContextStatus.OFF
_encode = msgspec.json.Encoder().encode


class Enricher:
    """Turns scores into events; pure, so the same score and person give the same bytes.

    `schemas` has the schema of each route by its name (`event_schema.compile_schemas`).
    """

    def __init__(self, settings: Settings, schemas: Mapping[str, EventSchema]) -> None:
        tenant = settings.event.tenant.removeprefix("_")
        self._tenant_key = f"_{tenant}"
        self._event_type = settings.event.event_type
        self._max_bytes = settings.event.max_event_bytes
        self._router = Router(settings.routes, tenant, schemas)
        self._identities = PrimaryIdentity(settings.identity)
        self._rules = ScoreRules.from_settings(settings.event, settings.reading)
        self._lookback = Lookback.from_settings(settings.join)
        self._digest = digest if settings.join.enabled else _no_digest

    def person(self, identities: Sequence[Identity]) -> bytes | None:
        """Return the person key of identities; None where none of them is usable."""
        usable = self._identities.usable(identities)
        return person_key(usable[0]) if usable else None

    def prepare(self, score: Score, now_ms: int) -> PreparedScore:
        """Check, identify and route a score; RejectError where one of them fails."""
        route_model = self._router.find(score.model)
        self._rules.check(score, now_ms, route_model.pointer)
        usable = self._identities.usable(score.identities)
        if not usable:
            raise _no_identity(score)
        primary, scored_at_ms = usable[0], score.scored_at_ms
        complete = len(usable) == len(score.identities)
        return PreparedScore(
            score,
            route_model,
            event_id(route_model.seed, primary.namespace, primary.id, scored_at_ms),
            self._digest(score),
            person_key(primary),
            usable,
            self._rules.bucket(score.score),
            scored_at_ms // DAY_MS < now_ms // DAY_MS,
            () if complete else self._identities.left_out(score.identities),
        )

    def event(self, prepared: PreparedScore, person: Person | None, status: ContextStatus) -> Event:
        """Return one event; see `events`."""
        return self.events([(prepared, person or _NO_STATE)], [status])[0]

    def events(
        self, scores: Sequence[tuple[PreparedScore, Person]], waits: Sequence[ContextStatus]
    ) -> list[Event]:
        """Return the events of scores, neither validated nor shortened, in order.

        `waits` has the context status of each score by the result of its wait; `complete` becomes
        `none` or `partial` where the person state is so, and `off` leaves the past fields out.
        """
        pasts = [
            _NO_FIELDS if status is _OFF else past_fields(*one, self._lookback)
            for one, status in zip(scores, waits, strict=True)
        ]
        contexts = [
            self._context(*one, status, past)
            for one, status, past in zip(scores, waits, pasts, strict=True)
        ]
        tenant_key, event_type = self._tenant_key, self._event_type
        events = [
            _build(prepared, context, tenant_key, event_type)
            for (prepared, _), context in zip(scores, contexts, strict=True)
        ]
        for (prepared, _), event in zip(scores, events, strict=True):
            if prepared.route_model.schema.leave_out:
                _remove_fields(event, prepared.route_model.schema.leave_out)
        return events

    def _context(
        self, prepared: PreparedScore, person: Person, status: ContextStatus, past: Event
    ) -> Event:
        if status is _COMPLETE:
            status = context_status(prepared, person, self._lookback, found=bool(past))
        return {
            "predictionName": prepared.route_model.prediction,
            "scoreBucket": prepared.bucket,
            **past,
            "contextStatus": status.value,
        }

    def encode(self, drafted: Sequence[tuple[PreparedScore, Event]]) -> list[bytes | Reject]:
        """Validate events against the schemas of their routes and encode them, in order.

        An event that is invalid or too large is repaired where normalised or fewer influential
        factors are enough; the others become a Reject.
        """
        valid = [prepared.route_model.schema.accepts(event) for prepared, event in drafted]
        bodies = [_encode(event) for _, event in drafted]
        return [
            body if good and len(body) <= self._max_bytes else self._repaired(*drafted[index])
            for index, (good, body) in enumerate(zip(valid, bodies, strict=True))
        ]

    def context_in(self, event: Event) -> Event:
        """Return the `scoreContext` of an event, empty where its schema has none."""
        context: Event = event[self._tenant_key].get("scoreContext", _NO_FIELDS)
        return context

    def _repaired(self, prepared: PreparedScore, event: Event) -> bytes | Reject:
        try:
            return self._normalised_body(prepared, event)
        except RejectError as error:
            return error.reject

    def _normalised_body(self, prepared: PreparedScore, event: Event) -> bytes:
        """Normalise the influential factors, as they came with the record, and validate again."""
        fields = event[self._tenant_key]["CustomerAI"][prepared.route_model.model_key]
        if factors := _normalised_factors(fields.pop("influentialFactors", ())):
            fields["influentialFactors"] = factors
        schema = prepared.route_model.schema
        violation = schema.violation(_remove_fields(event, schema.leave_out))
        if violation is not None:
            raise _reject(Reason.SCHEMA_VIOLATION, violation.sentence, prepared, violation.pointer)
        return self._shortened(prepared, event, fields)

    def _shortened(self, prepared: PreparedScore, event: Event, fields: Event) -> bytes:
        """Leave out influential factors, then audiences, each from the end, until it fits."""
        context = event[self._tenant_key].get("scoreContext", {})
        body = _encode(event)
        for holder, name in ((fields, "influentialFactors"), (context, "audiences")):
            while len(body) > self._max_bytes and name in holder:
                holder[name].pop()
                if not holder[name]:
                    del holder[name]
                body = _encode(event)
        if len(body) > self._max_bytes:
            detail = f"The event is larger than {self._max_bytes} bytes."
            raise _reject(Reason.EVENT_TOO_LARGE, detail, prepared)
        return body


def _no_digest(score: Score) -> bytes:
    """Return nothing: without person state no digests are compared."""
    del score
    return b""


def _reject(reason: Reason, detail: str, prepared: PreparedScore, pointer: str = "") -> RejectError:
    model = prepared.score.model
    return RejectError(Stage.VALIDATE, reason, detail, pointer=pointer, model=model)


def _no_identity(score: Score) -> RejectError:
    if score.identities:
        reason, detail = Reason.BAD_IDENTITY, "None of the identities names anybody."
    else:
        reason, detail = Reason.NO_IDENTITY, "There is no identity."
    return RejectError(Stage.ENRICH, reason, detail, pointer="/identityMap", model=score.model)


def _build(prepared: PreparedScore, context: Event, tenant_key: str, event_type: str) -> Event:
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


def _normalised_factors(factors: Iterable[Factor]) -> list[Event]:
    """Return factors with Adobe's keys only, text cut to size, and nothing empty."""
    return [fields for factor in factors if (fields := _normalised_factor(factor))]


def _normalised_factor(factor: Factor) -> Event:
    texts = (factor.get("code"), factor.get("value"), factor.get("importance"))
    parts = zip(("code", "value", "importance"), texts, strict=True)
    return {key: text[:MAX_TEXT] for key, text in parts if text}


def _remove_fields(event: Event, paths: Iterable[Sequence[str]]) -> Event:
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
