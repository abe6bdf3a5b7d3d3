"""The room's one door: what a record says, by the role of its topic."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from processor.codec.dates import Dates
from processor.codec.decoder import ValueDecoder
from processor.codec.envelope import Entity, Unwrapped, unwrap
from processor.codec.facts import FactReader
from processor.codec.fast_path import FastScoreReader
from processor.codec.identities import IdentityReader
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
_NOBODY = DecodedRecord(rule=FilterRule.EVENT_WITHOUT_PERSON)


class _Role(Enum):
    SCORES = "scores"
    EVENTS = "events"
    FACTS = "facts"


class _Input(NamedTuple):
    """One input: what its records are, how they are decoded, and the topics it has."""

    role: _Role
    decoder: ValueDecoder
    topics: tuple[re.Pattern[str], ...]


class InputReader:
    """Reads score records and experience events; pure once the schemas it needs are learned."""

    def __init__(self, settings: Settings, schemas: SchemaSource) -> None:
        dates = Dates(settings.reading.zone)
        self._schemas = schemas
        self._identities = IdentityReader(settings.identity)
        self._scores = ScoreReader(settings.reading, dates)
        self._usual = FastScoreReader(
            settings.reading, settings.event.tenant, self._identities, dates
        )
        self._facts = FactReader(settings.join, dates)
        self._foreign = settings.join.repartition_topic is not None
        self._inputs = _inputs(settings, schemas)
        self._by_topic: dict[str, _Input] = {}

    def fetch_schemas(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; UnavailableError on an outage."""
        found = {self._input(record.topic).decoder.schema_id(record.value) for record in records}
        ids = {schema_id for schema_id in found if schema_id is not None}
        if ids:
            self._schemas.fetch_schemas(ids)

    def read(self, record: Record) -> DecodedRecord:
        """Return what a record says; RejectError where all of it is bad."""
        if record.value is None:
            return _TOMBSTONE
        source = self._by_topic.get(record.topic) or self._input(record.topic)
        if source.role is _Role.SCORES:
            return self._read_scores(source.decoder, record.value)
        if source.role is _Role.FACTS:
            repartitioned = decode(record.value)
            return DecodedRecord(repartitioned.scores, repartitioned=repartitioned)
        try:
            decoded = source.decoder.decode(record.value)
        except RejectError as error:
            if error.reject.reason is not Reason.MALFORMED:
                raise
            return self._read_damaged_event(source.decoder, record.value, error)
        return self._read_event(unwrap(decoded), record.value)

    def _read_scores(self, decoder: ValueDecoder, value: bytes) -> DecodedRecord:
        if decoder.is_plain_json(value):
            usual = self._usual.of_json(value)
            decoded = None if usual else decoder.decode(value)
        else:
            decoded = decoder.decode(value)
            usual = self._usual.of_value(decoded)
        return DecodedRecord(usual) if usual else self._read_any_scores(unwrap(decoded))

    def _read_any_scores(self, unwrapped: Unwrapped) -> DecodedRecord:
        entity = unwrapped.entity
        identities = self._identities.read(entity)
        found = self._scores.read_models(unwrapped, identities)
        if found.scores or found.rejects:
            _check_named(entity, identities)
            return DecodedRecord(found.scores, None, found.rejects)
        prediction = self._scores.flat_prediction(unwrapped)
        if prediction is None:
            raise RejectError(
                Stage.READ, Reason.NO_SCORE, "There is no Customer AI score in it, nested or flat."
            )
        identities = self._identities.read_flat(entity)
        score = self._scores.read_flat(unwrapped, prediction, identities)
        _check_named(entity, identities)
        return DecodedRecord((score,))

    def _read_event(self, unwrapped: Unwrapped, value: bytes) -> DecodedRecord:
        identities = self._identities.read(unwrapped.entity)
        found = self._scores.read_models(unwrapped, identities)
        if found.scores or found.rejects:
            _check_named(unwrapped.entity, identities)
            return self._read_scored_event(unwrapped, value, identities, found)
        return self._event(unwrapped, value, identities)

    def _event(
        self, unwrapped: Unwrapped, value: bytes, identities: tuple[Identity, ...]
    ) -> DecodedRecord:
        fact = self._facts.read(unwrapped, value)
        if not self._identities.names_somebody(identities):
            return _NOBODY
        return DecodedRecord((), ExperienceEvent(identities, fact), needs_repartition=self._foreign)

    def _read_damaged_event(
        self, decoder: ValueDecoder, value: bytes, refused: RejectError
    ) -> DecodedRecord:
        """Keep what is good of an event with bad characters; scores in it would be guessed at.

        An id that a character is lost of would name somebody else.
        """
        try:
            unwrapped = unwrap(decoder.decode_leniently(value))
        except RejectError as error:
            if error.reject.reason is Reason.TOO_DEEP:
                raise
            raise refused from error
        if self._scores.are_in(unwrapped):
            raise refused
        whole = [
            one
            for one in self._identities.read(unwrapped.entity)
            if REPLACED not in one.id and REPLACED not in one.namespace
        ]
        return self._event(unwrapped, value, tuple(whole))

    def _read_scored_event(
        self,
        unwrapped: Unwrapped,
        value: bytes,
        identities: tuple[Identity, ...],
        found: FoundScores,
    ) -> DecodedRecord:
        """Keep the scores whatever the event itself is worth."""
        event, rejects, foreign = None, found.rejects, self._foreign
        try:
            event = ExperienceEvent(identities, self._facts.read(unwrapped, value))
        except RejectError as error:
            rejects = (*rejects, error.reject)
        return DecodedRecord(found.scores, event, rejects, needs_repartition=foreign)

    def _input(self, topic: str) -> _Input:
        known = self._by_topic.get(topic)
        if known is None:
            known = self._by_topic[topic] = _of_topic(self._inputs, topic)
        return known


def _of_topic(inputs: tuple[_Input, ...], topic: str) -> _Input:
    for one in inputs:
        if any(pattern.match(topic) for pattern in one.topics):
            return one
    raise InvariantError(f"No input has a topic named {topic}.")


def _inputs(settings: Settings, schemas: SchemaSource) -> tuple[_Input, ...]:
    topic = settings.join.repartition_topic
    # Nothing of the format is asked of what was forwarded; "json" has no schema to be learned.
    facts = InputSettings(topics=[topic], format="json") if topic is not None else None
    sources = [
        (_Role.SCORES, settings.kafka.scores),
        (_Role.FACTS, facts),
        (_Role.EVENTS, settings.kafka.events),
    ]
    return tuple(
        _Input(role, ValueDecoder(source, settings.reading, schemas), _patterns(source))
        for role, source in sources
        if source is not None
    )


def _patterns(source: InputSettings) -> tuple[re.Pattern[str], ...]:
    """Return the topics as patterns; a name is one that matches itself alone."""
    patterns = (one if one.startswith("^") else f"{re.escape(one)}\\Z" for one in source.topics)
    return tuple(re.compile(pattern) for pattern in patterns)


def _check_named(entity: Entity, identities: tuple[Identity, ...]) -> None:
    """Refuse scores about nobody; whether an identity is a good one is not asked here."""
    if identities:
        return
    if any(entity.get(key) for key in ("identityMap", "endUserIDs", "identities", "id")):
        detail, reason = "No identity in it has an id that is text.", Reason.BAD_IDENTITY
    else:
        detail, reason = "There is no identity in it.", Reason.NO_IDENTITY
    raise RejectError(Stage.READ, reason, detail)
