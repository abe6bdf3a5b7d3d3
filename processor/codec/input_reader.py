"""Reads records: from a value to scores and experience events, by the input of its topic."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from processor.codec.dates import Dates
from processor.codec.decoder import ValueDecoder
from processor.codec.entity import Entity, IdentityReader, Unwrapped, unwrap
from processor.codec.facts import FactReader
from processor.codec.fast_path import FastScoreReader
from processor.codec.json_text import REPLACED
from processor.codec.repartition_message import decode
from processor.codec.schemas import SchemaSource
from processor.codec.scores import FoundScores, ScoreReader
from processor.domain.errors import InvariantError, RejectError
from processor.domain.event import DecodedRecord, ExperienceEvent
from processor.domain.outcome import FilterRule, Reason, Stage
from processor.domain.record import Record
from processor.domain.score import Identity
from processor.settings import InputSettings, Settings

_TOMBSTONE = DecodedRecord(rule=FilterRule.TOMBSTONE)
_WITHOUT_PERSON = DecodedRecord(rule=FilterRule.EVENT_WITHOUT_PERSON)


class _Role(Enum):
    SCORES = "scores"
    EVENTS = "events"
    REPARTITIONED = "repartitioned"


class _Input(NamedTuple):
    """One input: the role of its records, their decoder, and its topics."""

    role: _Role
    decoder: ValueDecoder
    topics: tuple[re.Pattern[str], ...]


class InputReader:
    """Reads score records and experience events; pure once the schemas it needs are fetched."""

    def __init__(self, settings: Settings, schemas: SchemaSource) -> None:
        dates = Dates(settings.reading.zone)
        self._schemas = schemas
        self._identities = IdentityReader(settings.identity)
        self._scores = ScoreReader(settings.reading, dates)
        self._fast_path = FastScoreReader(
            settings.reading, settings.event.tenant, self._identities, dates
        )
        self._facts = FactReader(settings.join, dates)
        self._needs_repartition = settings.join.repartition_topic is not None
        self._inputs = _inputs(settings, schemas)
        self._by_topic: dict[str, _Input] = {}

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        """Start to fetch the writer schemas these records need; return True once all are there.

        Never waits: call it again while it returns False. UnavailableError on an outage.
        """
        found = {self._input(record.topic).decoder.schema_id(record.value) for record in records}
        ids = {schema_id for schema_id in found if schema_id is not None}
        return not ids or self._schemas.fetch_schemas(ids)

    def read(self, record: Record) -> DecodedRecord:
        """Return what a record holds; RejectError where all of it is bad."""
        if record.value is None:
            return _TOMBSTONE
        source = self._by_topic.get(record.topic) or self._input(record.topic)
        if source.role is _Role.SCORES:
            return self._read_scores(source.decoder, record.value)
        if source.role is _Role.REPARTITIONED:
            message = decode(record.value)
            return DecodedRecord(message.scores, repartitioned=message)
        try:
            decoded = source.decoder.decode(record.value)
        except RejectError as error:
            if error.reject.reason is not Reason.MALFORMED:
                raise
            return self._read_damaged_event(source.decoder, record.value, error)
        return self._read_event(unwrap(decoded), record.value)

    def _read_scores(self, decoder: ValueDecoder, value: bytes) -> DecodedRecord:
        """Read the fast way; where that returns no score, read again the general way."""
        if decoder.is_plain_json(value):
            scores = self._fast_path.of_json(value)
            decoded = None if scores else decoder.decode(value)
        else:
            decoded = decoder.decode(value)
            scores = self._fast_path.of_value(decoded)
        return DecodedRecord(scores) if scores else self._read_scores_generally(unwrap(decoded))

    def _read_scores_generally(self, unwrapped: Unwrapped) -> DecodedRecord:
        entity = unwrapped.entity
        identities = self._identities.read(entity)
        found = self._scores.read_models(unwrapped, identities)
        if found.scores or found.rejects:
            _check_identities(entity, identities)
            return DecodedRecord(found.scores, None, found.rejects)
        prediction = self._scores.flat_prediction(unwrapped)
        if prediction is None:
            raise RejectError(
                Stage.READ, Reason.NO_SCORE, "There is no Customer AI score in it, nested or flat."
            )
        identities = self._identities.read_flat(entity)
        score = self._scores.read_flat(unwrapped, prediction, identities)
        _check_identities(entity, identities)
        return DecodedRecord((score,))

    def _read_event(self, unwrapped: Unwrapped, value: bytes) -> DecodedRecord:
        identities = self._identities.read(unwrapped.entity)
        found = self._scores.read_models(unwrapped, identities)
        if found.scores or found.rejects:
            _check_identities(unwrapped.entity, identities)
            return self._read_scored_event(unwrapped, value, identities, found)
        return self._event(unwrapped, value, identities)

    def _event(
        self, unwrapped: Unwrapped, value: bytes, identities: tuple[Identity, ...]
    ) -> DecodedRecord:
        fact = self._facts.read(unwrapped, value)
        if not self._identities.any_valid(identities):
            return _WITHOUT_PERSON
        event = ExperienceEvent(identities, fact)
        return DecodedRecord((), event, needs_repartition=self._needs_repartition)

    def _read_damaged_event(
        self, decoder: ValueDecoder, value: bytes, strict_error: RejectError
    ) -> DecodedRecord:
        """Read an event with bad characters without them; one with scores is rejected.

        An id with a replaced character is left out: it would be another person's.
        """
        try:
            unwrapped = unwrap(decoder.decode_leniently(value))
        except RejectError as error:
            if error.reject.reason is Reason.TOO_DEEP:
                raise
            raise strict_error from error
        if self._scores.has_models(unwrapped):
            raise strict_error
        intact = [
            one
            for one in self._identities.read(unwrapped.entity)
            if REPLACED not in one.id and REPLACED not in one.namespace
        ]
        return self._event(unwrapped, value, tuple(intact))

    def _read_scored_event(
        self,
        unwrapped: Unwrapped,
        value: bytes,
        identities: tuple[Identity, ...],
        found: FoundScores,
    ) -> DecodedRecord:
        """Return the scores of an event, also where the event itself is rejected."""
        event, rejects = None, found.rejects
        try:
            event = ExperienceEvent(identities, self._facts.read(unwrapped, value))
        except RejectError as error:
            rejects = (*rejects, error.reject)
        needs_repartition = self._needs_repartition
        return DecodedRecord(found.scores, event, rejects, needs_repartition=needs_repartition)

    def _input(self, topic: str) -> _Input:
        found = self._by_topic.get(topic)
        if found is None:
            found = self._by_topic[topic] = _input_of_topic(self._inputs, topic)
        return found


def _input_of_topic(inputs: tuple[_Input, ...], topic: str) -> _Input:
    for one in inputs:
        if any(pattern.match(topic) for pattern in one.topics):
            return one
    raise InvariantError(f"No input has a topic named {topic}.")


def _inputs(settings: Settings, schemas: SchemaSource) -> tuple[_Input, ...]:
    topic = settings.join.repartition_topic
    # The decoder of repartition messages is not used for their values; "json" needs no schemas.
    repartitioned = InputSettings(topics=[topic], format="json") if topic is not None else None
    sources = [
        (_Role.SCORES, settings.kafka.scores),
        (_Role.REPARTITIONED, repartitioned),
        (_Role.EVENTS, settings.kafka.events),
    ]
    return tuple(
        _Input(role, ValueDecoder(source, settings.reading, schemas), _patterns(source))
        for role, source in sources
        if source is not None
    )


def _patterns(source: InputSettings) -> tuple[re.Pattern[str], ...]:
    """Return the topics as patterns; a name becomes one that matches only itself."""
    patterns = (one if one.startswith("^") else f"{re.escape(one)}\\Z" for one in source.topics)
    return tuple(re.compile(pattern) for pattern in patterns)


def _check_identities(entity: Entity, identities: tuple[Identity, ...]) -> None:
    """Reject scores without any identity; whether an identity is valid is checked later."""
    if identities:
        return
    if any(entity.get(key) for key in ("identityMap", "endUserIDs", "identities", "id")):
        detail, reason = "No identity in it has an id that is text.", Reason.BAD_IDENTITY
    else:
        detail, reason = "There is no identity in it.", Reason.NO_IDENTITY
    raise RejectError(Stage.READ, reason, detail)
