"""Settings: how scores and experience events are read, and what a score event looks like."""

from typing import Annotated, Literal

from pydantic import Field

from processor.settings.section import Section


class ReadingSettings(Section):
    """How a score record is read: names and forms vary in the wild."""

    containers: list[str] = ["CustomerAI"]
    """Names of the object that holds the models, under a `_tenant` key; letter case is ignored."""
    aliases: dict[str, list[str]] = {
        "score": ["score", "propensityScore"],
        "probability": ["probability", "propensity"],
        "percentile": ["percentileScore", "percentile", "percentileRank"],
        "modelType": ["modelType", "propensityType", "propensity_type", "type"],
        "scoreDate": ["scoreDate", "score_date", "scoredAt", "scoringDate"],
        "influentialFactors": ["influentialFactors", "influential_factors", "factors"],
        "prediction": ["prediction", "predictionName", "modelName", "model"],
    }
    """Accepted spellings of each leaf, in order of preference; letter case is ignored.
    `prediction` is the leaf by which a flat record names its model."""
    zone: str = "UTC"
    """IANA zone of a scoreDate that names none."""
    max_record_bytes: Annotated[int, Field(ge=1_024)] = 1_048_576
    """A larger record is rejected before anything reads it."""
    max_depth: Annotated[int, Field(ge=8, le=500)] = 64
    """A record that nests deeper is rejected."""
    max_factors: Annotated[int, Field(ge=0, le=100)] = 20
    """Influential factors beyond so many are left out of the event."""
    future_tolerance_seconds: Annotated[int, Field(ge=0, le=2_678_400)] = 300
    """How far ahead of our clock a score date may be; XDM wants timestamps in the past."""
    max_age_days: Annotated[int, Field(ge=1)] = 3_650
    """Older score dates are rejected."""


class IdentitySettings(Section):
    """Who a record is about."""

    order: Annotated[list[str], Field(min_length=1)] = ["ECID", "CRMID", "Email", "AAID"]
    """Namespace symbols, best first, spelled as AEP has them. The first one present is primary and
    names the person; letter case on input is ignored, other namespaces are passed through after."""
    aliases: dict[str, str] = {"MCID": "ECID"}
    """Other names a namespace goes by on input."""
    placeholders: list[str] = [
        "null",
        "none",
        "nil",
        "undefined",
        "anonymous",
        "invalid",
        "unknown",
    ]
    """Ids that name nobody, letter case ignored. Blank, all-zero and NIL-UUID ids always do."""


class EventSettings(Section):
    """The score event."""

    tenant: Annotated[str, Field(pattern=r"^_?[A-Za-z0-9]+$", examples=["acme"])]
    """AEP tenant id, with or without the leading underscore."""
    event_type: Annotated[str, Field(min_length=1)] = "customerAI.scored"
    """The `eventType` of every score event."""
    bucket_bounds: tuple[int, int] = (25, 75)
    """Scores below the first are `low`, from the second on `high`, between them `medium`."""
    max_event_bytes: Annotated[int, Field(ge=1_024)] = 10_240
    """AEP drops larger events from Profile; factors are left out from the end until it fits."""


class JoinSettings(Section):
    """What is remembered of a person, and how a score waits for it."""

    enabled: bool = True
    """Without it a score event says only what its own record says."""
    directory: str = "var/state"
    """Folder of the local store, a cache of the changelog; one replica each."""
    changelog_topic: str = "customer-ai-scores-state"
    """Compacted topic from which a new owner of a partition restores the store."""
    changelog_replication: Annotated[int, Field(ge=1)] = 3
    """Replicas of that topic, where it is created."""
    create_changelog: bool = True
    """Create the changelog topic, compacted and co-partitioned, where it is missing; and the
    repartition topic, where one is named."""
    repartition_topic: str | None = None
    """For experience events that are keyed otherwise than scores, or have other partition counts:
    an internal topic with as many partitions as the scores topics, through which what is kept of
    an event gets to its person's partition. Scores must then be keyed as `repartition_key` says."""
    repartition_key: Literal["id", "namespaced"] = "id"
    """How scores are keyed, and so the repartition topic: by the id of the primary identity (see
    `identity.order`) as text in UTF-8, or by `Namespace|id`."""
    lookback_days: Annotated[int, Field(ge=1)] = 45
    """A context counts and repeats experience events at most so old at the score date."""
    keep_days: Annotated[int, Field(ge=1)] = 90
    """Facts so much older than a person's newest are forgotten; leaves room for late scores."""
    max_facts: Annotated[int, Field(ge=1)] = 256
    """Facts remembered per person; the oldest go first, and contexts say so."""
    max_person_bytes: Annotated[int, Field(ge=8_192, le=900_000)] = 65_536
    """Bytes remembered per person: one half for facts, the other for delivered scores. A fact
    larger than a sixteenth of it is not remembered."""
    max_scores: Annotated[int, Field(ge=2)] = 128
    """Delivered scores remembered per person and model, 41 bytes each. A score that comes again is
    recognised, and an earlier one found, among these only."""
    max_wait_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How long a score waits for experience events that were in Kafka before it was read."""
    max_store_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 30
    """Upper bound of the local store; the file is sparse."""
    corrections: Literal["send", "suppress"] = "send"
    """A delivered score that comes again with other content."""
    cohort: str | None = None
    """Path of the cohort attribute in experience events, such as `_acme.loyalty.tier`."""
    success_types: list[str] = ["purchases", "order"]
    """Standard event types, own ones, or values of `eventType`, that count as success events."""
    own_types: dict[str, str] = {}
    """Event types of your own, by name: an event is of one where the path, such as
    `_acme.redemptions`, holds text, a true value, or a measure above zero. They can be success
    types, and the last types of a context; its `eventCounts` are of standard types only."""
