"""A score and what is known of its person become one XDM ExperienceEvent.

prepare: route, check, identify, name    (from the score alone)
compose: look back, build, validate, encode
"""

from collections.abc import Mapping, Sequence

import msgspec

from processor.enrich.context import Lookback, past, standing
from processor.enrich.identities import IdentityChoice, person_key
from processor.enrich.meaning import DAY_MS, Meaning
from processor.enrich.naming import digest, event_id
from processor.enrich.prepared import Prepared
from processor.enrich.routing import Router
from processor.enrich.validation import EventSchema
from processor.enrich.xdm import Event, build, tidied, without
from processor.errors import RejectError
from processor.event import ScoreEvent
from processor.outcome import Reason, Stage
from processor.person import ContextStatus, Person
from processor.record import Record
from processor.score import Identity, Score
from processor.settings import Settings

__all__ = ["Enricher", "Prepared"]

_NOBODY = Person()
_NOTHING: Event = {}
_COMPLETE, _OFF = ContextStatus.COMPLETE, ContextStatus.OFF
_encode = msgspec.json.Encoder().encode


class Enricher:
    """Turns scores into events; pure, so the same score and person give the same bytes.

    `schemas` has the schema of each route by its name, as `validation.compile_schemas` returns it.
    """

    def __init__(self, settings: Settings, schemas: Mapping[str, EventSchema]) -> None:
        tenant = settings.event.tenant.removeprefix("_")
        self._tenant_key = f"_{tenant}"
        self._event_type = settings.event.event_type
        self._max_bytes = settings.event.max_event_bytes
        self._router = Router(settings.routes, tenant, schemas)
        self._choice = IdentityChoice(settings.identity)
        self._meaning = Meaning.of(settings.event, settings.reading)
        self._lookback = Lookback.of(settings.join)

    def person(self, identities: Sequence[Identity]) -> bytes | None:
        """Return the key of the person whom identities name; None where they name nobody."""
        usable = self._choice.usable(identities)
        return person_key(usable[0]) if usable else None

    def prepare(self, score: Score, now_ms: int) -> Prepared:
        """Check, identify and route a score; RejectError where one of them fails."""
        destination = self._router.find(score.model)
        self._meaning.check(score, now_ms, destination.pointer)
        usable = self._choice.usable(score.identities)
        if not usable:
            raise _nobody(score)
        primary, at_ms = usable[0], score.scored_at_ms
        complete = len(usable) == len(score.identities)
        return Prepared(
            score=score,
            destination=destination,
            id=event_id(destination.seed, primary.namespace, primary.id, at_ms),
            digest=digest(score),
            person=person_key(primary),
            identities=usable,
            bucket=self._meaning.bucket(score.score),
            late=at_ms // DAY_MS < now_ms // DAY_MS,
            left_out=() if complete else self._choice.left_out(score.identities),
        )

    def compose(
        self, prepared: Prepared, known: Person | None, status: ContextStatus, record: Record
    ) -> ScoreEvent:
        """Build the event as of the score date, hold it against its route's schema, and encode it.

        `status` is what the caller knows of the join; `complete` becomes `none` or `partial` where
        the person's state says so. Raises RejectError for a violation and for too large an event.
        """
        event = self.event(prepared, known, status)
        context = event[self._tenant_key].get("scoreContext", _NOTHING)
        return ScoreEvent(
            id=prepared.id,
            route=prepared.destination.name,
            model=prepared.destination.model_key,
            body=self._body(prepared, event),
            scored_at_ms=prepared.score.scored_at_ms,
            digest=prepared.digest,
            person=prepared.person,
            record=record,
            score=prepared.score.score,
            movement=context.get("bucketMovement", ""),
            context_status=context.get("contextStatus", ""),
        )

    def event(self, prepared: Prepared, known: Person | None, status: ContextStatus) -> Event:
        """Return the event as it would be sent, neither validated nor shortened."""
        context: Event = {
            "predictionName": prepared.destination.prediction,
            "scoreBucket": prepared.bucket,
        }
        if status is not _OFF:
            known = known or _NOBODY
            found = past(prepared, known, self._lookback)
            context.update(found)
            if status is _COMPLETE:
                status = standing(prepared, known, self._lookback, found=bool(found))
        context["contextStatus"] = str(status)
        event = build(prepared, context, self._tenant_key, self._event_type)
        leave_out = prepared.destination.schema.leave_out
        return without(event, leave_out) if leave_out else event

    def _body(self, prepared: Prepared, event: Event) -> bytes:
        if prepared.destination.schema.accepts(event):
            body = _encode(event)
            if len(body) <= self._max_bytes:
                return body
        return self._tidied_body(prepared, event)

    def _tidied_body(self, prepared: Prepared, event: Event) -> bytes:
        """Clean the influential factors, which come from outside; then it fits or is rejected."""
        leaves = event[self._tenant_key]["CustomerAI"][prepared.destination.model_key]
        if factors := tidied(leaves.pop("influentialFactors", ())):
            leaves["influentialFactors"] = factors
        schema = prepared.destination.schema
        violation = schema.violation(without(event, schema.leave_out))
        if violation is not None:
            raise _reject(Reason.SCHEMA_VIOLATION, violation.sentence, prepared, violation.pointer)
        return self._shortened(prepared, event, leaves)

    def _shortened(self, prepared: Prepared, event: Event, leaves: Event) -> bytes:
        """Leave out influential factors, then audiences, each from the end, until it fits."""
        context = event[self._tenant_key].get("scoreContext", {})
        body = _encode(event)
        for holder, name in ((leaves, "influentialFactors"), (context, "audiences")):
            while len(body) > self._max_bytes and name in holder:
                holder[name].pop()
                if not holder[name]:
                    del holder[name]
                body = _encode(event)
        if len(body) > self._max_bytes:
            detail = f"The event is larger than {self._max_bytes} bytes."
            raise _reject(Reason.EVENT_TOO_LARGE, detail, prepared)
        return body


def _reject(reason: Reason, detail: str, prepared: Prepared, pointer: str = "") -> RejectError:
    model = prepared.score.model
    return RejectError(Stage.VALIDATE, reason, detail, pointer=pointer, model=model)


def _nobody(score: Score) -> RejectError:
    if score.identities:
        reason, detail = Reason.BAD_IDENTITY, "None of the identities names anybody."
    else:
        reason, detail = Reason.NO_IDENTITY, "There is no identity."
    return RejectError(Stage.ENRICH, reason, detail, pointer="/identityMap", model=score.model)
