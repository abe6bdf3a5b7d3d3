"""Settings: how scores and experience events are read, person state, and the score event."""

from typing import Annotated, Literal

from pydantic import Field

from processor.settings.section import Section


class ReadingSettings(Section):
    """How a score record is read: field names and date formats differ between producers."""

    containers: list[str] = ["CustomerAI"]
    """Names of the object with the models, under a `_tenant` key; letter case is ignored."""
    aliases: dict[str, list[str]] = {
        "score": ["score", "propensityScore"],
        "probability": ["probability", "propensity"],
        "percentile": ["percentileScore", "percentile", "percentileRank"],
        "modelType": ["modelType", "propensityType", "propensity_type", "type"],
        "scoreDate": ["scoreDate", "score_date", "scoredAt", "scoringDate"],
        "influentialFactors": ["influentialFactors", "influential_factors", "factors"],
        "prediction": ["prediction", "predictionName", "modelName", "model"],
    }
    """Accepted names of each score field, in order of preference; letter case is ignored.
    `prediction` is the field with the model name in a flat record."""
    zone: str = "UTC"
    """IANA time zone of a scoreDate without a zone."""
    max_record_bytes: Annotated[int, Field(ge=1_024)] = 1_048_576
    """A larger record is rejected without being decoded."""
    max_depth: Annotated[int, Field(ge=8, le=500)] = 64
    """A record with deeper nesting is rejected."""
    max_factors: Annotated[int, Field(ge=0, le=100)] = 20
    """Maximum number of influential factors in the event; the rest is omitted."""
    future_tolerance_seconds: Annotated[int, Field(ge=0, le=2_678_400)] = 300
    """How far in the future a score date may be; XDM requires timestamps in the past."""
    max_age_days: Annotated[int, Field(ge=1)] = 3_650
    """Scores with an older date are rejected."""


class IdentitySettings(Section):
    """The identities of a person."""

    order: Annotated[list[str], Field(min_length=1)] = ["ECID", "CRMID", "Email", "AAID"]
    """Namespace symbols as in AEP, the preferred one first. The first one present is the primary
    identity and identifies the person. Letter case in the input is ignored; other namespaces are
    passed through."""
    aliases: dict[str, str] = {"MCID": "ECID"}
    """Other names of a namespace in the input."""
    placeholders: list[str] = [
        "null",
        "none",
        "nil",
        "undefined",
        "anonymous",
        "invalid",
        "unknown",
    ]
    """Ids that identify no person; letter case is ignored. Blank, all-zero and NIL-UUID ids are
    always placeholders."""


class EventSettings(Section):
    """The score event that is sent to AEP."""

    tenant: Annotated[str, Field(pattern=r"^_?[A-Za-z0-9]+$", examples=["acme"])]
    """AEP tenant id, with or without the leading underscore."""
    event_type: Annotated[str, Field(min_length=1)] = "customerAI.scored"
    """The `eventType` of every score event."""
    bucket_bounds: tuple[int, int] = (25, 75)
    """Scores below the first are `low`, from the second on `high`, between them `medium`."""
    max_event_bytes: Annotated[int, Field(ge=1_024)] = 10_240
    """AEP drops larger events from Profile; the last factors are omitted until the event fits."""


class JoinSettings(Section):
    """Person state: what is stored, where, and how long a score waits for it."""

    enabled: bool = True
    """Without it a score event has no context of earlier events and scores."""
    directory: str = "var/state"
    """Folder of the local store, a cache of the changelog; each replica needs its own."""
    changelog_topic: str = "customer-ai-scores-state"
    """Compacted topic from which the new owner of a partition restores its person state."""
    changelog_replication: Annotated[int, Field(ge=1)] = 3
    """Replication factor of the topics that the processor creates."""
    create_changelog: bool = True
    """Create the changelog topic, compacted and co-partitioned, if it is missing; also
    `kafka.control_topic`, and the repartition topic, if `repartition_topic` is set."""
    repartition_topic: str | None = None
    """Set it if experience events have other keys or another partition count than scores: an
    internal topic with as many partitions as the scores topics, which brings the stored part of an
    event to the partition of its person. Scores must then be keyed according to
    `repartition_key`."""
    repartition_key: Literal["id", "namespaced"] = "id"
    """Key of the scores, and so of the repartition topic: the id of the primary identity (see
    `identity.order`) as UTF-8 text, or `Namespace|id`."""
    lookback_days: Annotated[int, Field(ge=1)] = 45
    """Maximum age at the score date of the experience events in a context."""
    keep_days: Annotated[int, Field(ge=1)] = 90
    """Facts this much older than the newest fact of a person are deleted; more than
    `lookback_days`, so that late scores still have a complete context."""
    max_facts: Annotated[int, Field(ge=1)] = 256
    """Maximum number of facts stored per person; the oldest are deleted, and contexts say so."""
    max_person_bytes: Annotated[int, Field(ge=8_192, le=900_000)] = 65_536
    """Maximum number of bytes stored per person: one half for facts, the other for delivered
    scores. A fact larger than a sixteenth of it is not stored."""
    max_scores: Annotated[int, Field(ge=2)] = 128
    """Maximum number of delivered scores stored per person and model, 49 bytes each. Duplicates and
    previous scores are found only among these."""
    max_wait_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How long a score waits for experience events that were in Kafka before the score was read."""
    max_store_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 30
    """Maximum size of the local store; the file is sparse."""
    corrections: Literal["send", "suppress"] = "send"
    """What to do with a delivered score that comes again with other content."""
    cohort: str | None = None
    """Path of the cohort attribute in experience events, such as `_acme.loyalty.tier`."""
    success_types: list[str] = ["purchases", "order"]
    """Standard event types, names in `own_types`, or values of `eventType`: the success events."""
    own_types: dict[str, str] = {}
    """Your own event types: a name and a path such as `_acme.redemptions`. An event has the type if
    the value at the path is text, true, or a measure above zero. Own types can be success types
    and the last types of a context; `eventCounts` contains standard types only."""
