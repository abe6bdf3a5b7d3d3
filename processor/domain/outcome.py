"""The closed sets of outcomes, rules, stages and reasons: how a record ends, and why."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What became of a settled record; every one has exactly one, the most severe is last."""

    FILTERED = "filtered"
    """Nothing is to be sent for it, by a named rule (see `FilterRule`)."""
    REPARTITIONED = "repartitioned"
    """Its facts and scores are in the repartition topic, on the partition of its person,
    acknowledged by all replicas; the message there has its own outcome
    (see `join.repartition_topic`)."""
    STORED = "stored"
    """An experience event without scores: it is part of the person state."""
    DUPLICATE = "duplicate"
    """Every score event of it was delivered before with the same content."""
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
    """An experience event dated more than a day in the future: a wrong device clock, which would
    push real facts out of the person state."""
    JOIN_OFF = "join_off"
    """An experience event without scores while `join.enabled` is false."""
    CORRECTION_SUPPRESSED = "correction_suppressed"
    """A correction of a delivered score while `join.corrections` is `suppress`."""
    LATE_SUPPRESSED = "late_suppressed"
    """A score late for CJA while its route says `late: drop`."""


class Stage(StrEnum):
    """The step at which a record was rejected."""

    DECODE = "decode"
    READ = "read"
    ENRICH = "enrich"
    ROUTE = "route"
    VALIDATE = "validate"
    DELIVER = "deliver"


class Reason(StrEnum):
    """Why a record was rejected. An interface: dashboards and `dlq` filters use the values."""

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
    SKIPPED = "skipped"
    UNDELIVERABLE = "undeliverable"


REASONS: Mapping[Stage, tuple[Reason, ...]] = {
    Stage.DECODE: (
        Reason.TOO_LARGE,
        Reason.BAD_FRAME,
        Reason.UNKNOWN_SCHEMA,
        Reason.UNSAFE_SCHEMA,
        Reason.MALFORMED,
        Reason.TOO_DEEP,
    ),
    Stage.READ: (
        Reason.TOO_LARGE,
        Reason.NOT_AN_OBJECT,
        Reason.NO_SCORE,
        Reason.NO_TIMESTAMP,
        Reason.NO_IDENTITY,
        Reason.BAD_IDENTITY,
        Reason.BAD_SCORE,
        Reason.BAD_DATE,
        Reason.SKIPPED,
    ),
    Stage.ENRICH: (
        Reason.NO_IDENTITY,
        Reason.BAD_IDENTITY,
        Reason.BAD_SCORE,
        Reason.FUTURE_DATE,
        Reason.ANCIENT_DATE,
    ),
    Stage.ROUTE: (Reason.UNKNOWN_PREDICTION,),
    Stage.VALIDATE: (Reason.SCHEMA_VIOLATION, Reason.EVENT_TOO_LARGE),
    Stage.DELIVER: (
        Reason.REFUSED,
        Reason.EVENT_TOO_LARGE,
        Reason.UNDELIVERABLE,
        Reason.SKIPPED,
    ),
}
"""Which reasons occur at which stage; each pair is a series of `cai_dead_letters_total`."""


class Reject(msgspec.Struct, frozen=True, gc=False):
    """Why one record, or one score in it, goes to the dead-letter topic.

    `detail` is a sentence for people and never has an identity, a payload or a secret in it.
    `pointer` is a JSON pointer to the bad field, in the input or in the event built from it.
    `model` names the score concerned where a record carries several; empty means the whole record.
    """

    stage: Stage
    reason: Reason
    detail: str
    pointer: str = ""
    model: str = ""


class ContextStatus(StrEnum):
    """How complete a score event's context is; the values of the field `contextStatus`."""

    COMPLETE = "complete"
    """Every experience event that was in Kafka before the score is taken into account."""
    PARTIAL = "partial"
    """Events are known to be missing: the wait of the score for earlier events timed out, or events
    within the look-back were dropped by a limit of the person state."""
    NONE = "none"
    """Every event was read, and the person has none as of the score date."""
    OFF = "off"
    """The join is off: nothing was looked up."""


class Cause(StrEnum):
    """Why an inlet did not accept events, or did not get them; `none` where it did."""

    NONE = "none"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    AUTH = "auth"
    TOKEN = "token"  # noqa: S105  a word
    INLET = "inlet"
    REDIRECT = "redirect"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    SERVER = "server_error"
    SHAPE = "shape"
    TIMEOUT = "timeout"
    RESET = "reset"
    CONNECT = "connect"
    DNS = "dns"
    ADDRESS = "address"
    TLS = "tls"
    PROXY = "proxy"
    STOPPED = "stopped"
    UNDELIVERABLE = "undeliverable"


class Movement(StrEnum):
    """The move of a score between buckets since the previous one."""

    STAYED_LOW = "stayed low"
    STAYED_MEDIUM = "stayed medium"
    STAYED_HIGH = "stayed high"
    LOW_TO_MEDIUM = "low to medium"
    LOW_TO_HIGH = "low to high"
    MEDIUM_TO_LOW = "medium to low"
    MEDIUM_TO_HIGH = "medium to high"
    HIGH_TO_LOW = "high to low"
    HIGH_TO_MEDIUM = "high to medium"
