"""The closed words for how a record can end, and why."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """The one end every settled record has; the gravest is last."""

    FILTERED = "filtered"
    """A named rule (see `FilterRule`) says that nothing is to be sent for it."""
    REPARTITIONED = "repartitioned"
    """What it says is in the internal topic, acknowledged by all replicas, on the partition of its
    person; the message there has a fate of its own (see `join.repartition_topic`)."""
    STORED = "stored"
    """An experience event without scores: it became part of what is known of a person."""
    DUPLICATE = "duplicate"
    """Every score event of it had been delivered before with the same content."""
    DELIVERED = "delivered"
    """Every score event of the record was accepted by the inlet."""
    DEAD_LETTERED = "dead_lettered"
    """Original bytes and reason are in the dead-letter topic, acknowledged by all replicas."""


class FilterRule(StrEnum):
    """The named rules that filter a record."""

    TOMBSTONE = "tombstone"
    """The record has no value."""
    EVENT_WITHOUT_PERSON = "event_without_person"
    """An experience event whose identities are all missing, unknown or placeholders."""
    EVENT_IN_FUTURE = "event_in_future"
    """An experience event dated more than a day ahead of our clock: a wrong device clock, which
    would push real facts out of what is remembered."""
    JOIN_OFF = "join_off"
    """An experience event without scores while `join.enabled` is false."""
    CORRECTION_SUPPRESSED = "correction_suppressed"
    """A correction of a delivered score while `join.corrections` is `suppress`."""
    LATE_SUPPRESSED = "late_suppressed"
    """A score late for CJA while its route says `late: drop`."""


class Stage(StrEnum):
    """The step of the corridor at which a record was rejected."""

    DECODE = "decode"
    READ = "read"
    ENRICH = "enrich"
    ROUTE = "route"
    VALIDATE = "validate"
    DELIVER = "deliver"


class Reason(StrEnum):
    """Why a record was rejected. A reason is an interface: dashboards and `dlq` filters name it."""

    TOO_LARGE = "too_large"
    BAD_FRAME = "bad_frame"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNSAFE_SCHEMA = "unsafe_schema"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    NO_SCORE = "no_score"
    NO_TIMESTAMP = "no_timestamp"
    NO_IDENTITY = "no_identity"
    BAD_IDENTITY = "bad_identity"
    BAD_SCORE = "bad_score"
    BAD_DATE = "bad_date"
    FUTURE_DATE = "future_date"
    ANCIENT_DATE = "ancient_date"
    UNKNOWN_PREDICTION = "unknown_prediction"
    SCHEMA_VIOLATION = "schema_violation"
    EVENT_TOO_LARGE = "event_too_large"
    REFUSED = "refused"


class Reject(msgspec.Struct, frozen=True, gc=False):
    """Why one record, or one score in it, goes to the dead-letter topic.

    `detail` is a plain sentence for a person and never holds an identity, a payload or a secret.
    `pointer` is a JSON pointer to the guilty field, in the input or in the event built from it.
    `model` names the score concerned where a record carries several; empty means the whole record.
    """

    stage: Stage
    reason: Reason
    detail: str
    pointer: str = ""
    model: str = ""


class ContextStatus(StrEnum):
    """How far a score event's context can be trusted; an analyst sees it as `contextStatus`."""

    COMPLETE = "complete"
    """Every experience event that was in Kafka before the score is taken into account."""
    PARTIAL = "partial"
    """Something is known to be missing: the score did not wait any longer for earlier events, or
    events within the look-back were forgotten."""
    NONE = "none"
    """All was read, and nothing is known of the person as of the score date."""
    OFF = "off"
    """The join is off: nothing was looked up."""
