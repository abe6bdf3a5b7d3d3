"""A score and what is known of its person become one XDM ExperienceEvent.

prepare: route, check, identify, name    (from the score alone)
event:   look back, build
encode:  validate, encode
"""

from collections.abc import Mapping, Sequence

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import ContextStatus, Reason, Reject, Stage
from processor.domain.score import Identity, Score
from processor.enrich.context import Lookback, past, standing
from processor.enrich.event_id import digest, event_id
from processor.enrich.event_schema import EventSchema
from processor.enrich.prepared_score import PreparedScore
from processor.enrich.primary_identity import PrimaryIdentity, person_key
from processor.enrich.routing import Router
from processor.enrich.score_rules import DAY_MS, ScoreRules
from processor.enrich.xdm import Event, build, tidied, without
from processor.settings import Settings
from processor.state.person import Person

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
        self._choice = PrimaryIdentity(settings.identity)
        self._meaning = ScoreRules.of(settings.event, settings.reading)
        self._lookback = Lookback.of(settings.join)
        self._digest = digest if settings.join.enabled else _no_digest

    def person(self, identities: Sequence[Identity]) -> bytes | None:
        """Return the key of the person whom identities name; None where they name nobody."""
        usable = self._choice.usable(identities)
        return person_key(usable[0]) if usable else None

    def prepare(self, score: Score, now_ms: int) -> PreparedScore:
        """Check, identify and route a score; RejectError where one of them fails."""
        destination = self._router.find(score.model)
        self._meaning.check(score, now_ms, destination.pointer)
        usable = self._choice.usable(score.identities)
        if not usable:
            raise _nobody(score)
        primary, at_ms = usable[0], score.scored_at_ms
        complete = len(usable) == len(score.identities)
        return PreparedScore(
            score,
            destination,
            event_id(destination.seed, primary.namespace, primary.id, at_ms),
            self._digest(score),
            person_key(primary),
            usable,
            self._meaning.bucket(score.score),
            at_ms // DAY_MS < now_ms // DAY_MS,
            () if complete else self._choice.left_out(score.identities),
        )

    def event(self, prepared: PreparedScore, known: Person | None, status: ContextStatus) -> Event:
        """Return one event as it would be sent; see `events`."""
        return self.events([(prepared, known or _NOBODY)], [status])[0]

    def events(
        self, known: Sequence[tuple[PreparedScore, Person]], waited: Sequence[ContextStatus]
    ) -> list[Event]:
        """Return events as they would be sent, neither validated nor shortened, in order.

        Each status is what the caller knows of the score's wait; `complete` becomes `none` or
        `partial` where the person's state says so, and `off` leaves the past out.
        """
        pasts = [
            _NOTHING if status is _OFF else past(*one, self._lookback)
            for one, status in zip(known, waited, strict=True)
        ]
        contexts = [
            self._context(*one, status, about)
            for one, status, about in zip(known, waited, pasts, strict=True)
        ]
        tenant_key, kind = self._tenant_key, self._event_type
        events = [
            build(prepared, context, tenant_key, kind)
            for (prepared, _), context in zip(known, contexts, strict=True)
        ]
        for (prepared, _), event in zip(known, events, strict=True):
            if prepared.destination.schema.leave_out:
                without(event, prepared.destination.schema.leave_out)
        return events

    def _context(
        self, prepared: PreparedScore, person: Person, status: ContextStatus, about: Event
    ) -> Event:
        if status is _COMPLETE:
            status = standing(prepared, person, self._lookback, found=bool(about))
        return {
            "predictionName": prepared.destination.prediction,
            "scoreBucket": prepared.bucket,
            **about,
            "contextStatus": status.value,
        }

    def encode(self, drafted: Sequence[tuple[PreparedScore, Event]]) -> list[bytes | Reject]:
        """Hold events against the schemas of their routes and encode them, in order.

        An event that is refused for its influential factors, or too large, is mended where leaving
        some out mends it; a Reject stands for one that can not be sent.
        """
        valid = [prepared.destination.schema.accepts(event) for prepared, event in drafted]
        bodies = [_encode(event) for _, event in drafted]
        return [
            body if good and len(body) <= self._max_bytes else self._mended(*drafted[place])
            for place, (good, body) in enumerate(zip(valid, bodies, strict=True))
        ]

    def context_in(self, event: Event) -> Event:
        """Return the `scoreContext` of an event, empty where its schema has none."""
        context: Event = event[self._tenant_key].get("scoreContext", _NOTHING)
        return context

    def _mended(self, prepared: PreparedScore, event: Event) -> bytes | Reject:
        try:
            return self._tidied_body(prepared, event)
        except RejectError as error:
            return error.reject

    def _tidied_body(self, prepared: PreparedScore, event: Event) -> bytes:
        """Clean the influential factors, which come from outside; then it fits or is rejected."""
        leaves = event[self._tenant_key]["CustomerAI"][prepared.destination.model_key]
        if factors := tidied(leaves.pop("influentialFactors", ())):
            leaves["influentialFactors"] = factors
        schema = prepared.destination.schema
        violation = schema.violation(without(event, schema.leave_out))
        if violation is not None:
            raise _reject(Reason.SCHEMA_VIOLATION, violation.sentence, prepared, violation.pointer)
        return self._shortened(prepared, event, leaves)

    def _shortened(self, prepared: PreparedScore, event: Event, leaves: Event) -> bytes:
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


def _no_digest(score: Score) -> bytes:
    """Without a memory nothing is compared."""
    del score
    return b""


def _reject(reason: Reason, detail: str, prepared: PreparedScore, pointer: str = "") -> RejectError:
    model = prepared.score.model
    return RejectError(Stage.VALIDATE, reason, detail, pointer=pointer, model=model)


def _nobody(score: Score) -> RejectError:
    if score.identities:
        reason, detail = Reason.BAD_IDENTITY, "None of the identities names anybody."
    else:
        reason, detail = Reason.NO_IDENTITY, "There is no identity."
    return RejectError(Stage.ENRICH, reason, detail, pointer="/identityMap", model=score.model)
