"""Settings: how scores and experience events are read, and what a score event looks like."""

from typing import Annotated, Literal

from pydantic import Field

from processor.settings.page import Page

__all__ = ["EventSettings", "IdentitySettings", "JoinSettings", "ReadingSettings"]


class ReadingSettings(Page):
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
    }
    """Accepted spellings of each leaf, in order of preference; letter case is ignored."""
    zone: str = "UTC"
    """IANA zone of a scoreDate that names none."""
    max_record_bytes: Annotated[int, Field(ge=1_024)] = 1_048_576
    max_depth: Annotated[int, Field(ge=8, le=500)] = 64
    max_factors: Annotated[int, Field(ge=0, le=100)] = 20
    """Influential factors beyond so many are left out of the event."""
    future_tolerance_seconds: Annotated[int, Field(ge=0)] = 300
    """How far ahead of our clock a score date may be; XDM wants timestamps in the past."""
    max_age_days: Annotated[int, Field(ge=1)] = 3_650
    """Older score dates are rejected."""


class IdentitySettings(Page):
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


class EventSettings(Page):
    """The score event."""

    tenant: Annotated[str, Field(pattern=r"^_?[A-Za-z0-9]+$")]
    """AEP tenant id, with or without the leading underscore."""
    event_type: str = "customerAI.scored"
    bucket_bounds: tuple[int, int] = (25, 75)
    """Scores below the first are `low`, from the second on `high`, between them `medium`."""
    max_event_bytes: Annotated[int, Field(ge=1_024)] = 10_240
    """AEP drops larger events from Profile; factors are left out from the end until it fits."""


class JoinSettings(Page):
    """What is remembered of a person, and how a score waits for it."""

    enabled: bool = True
    directory: str = "var/state"
    changelog_topic: str = "customer-ai-scores-state"
    changelog_replication: Annotated[int, Field(ge=1)] = 3
    create_changelog: bool = True
    """Create the changelog topic, compacted and co-partitioned, where it is missing."""
    lookback_days: Annotated[int, Field(ge=1)] = 45
    """A context counts and repeats experience events at most so old at the score date."""
    keep_days: Annotated[int, Field(ge=1)] = 90
    """Facts so much older than a person's newest are forgotten; leaves room for late scores."""
    max_facts: Annotated[int, Field(ge=1)] = 256
    max_person_bytes: Annotated[int, Field(ge=1_024)] = 32_768
    max_scores: Annotated[int, Field(ge=2)] = 16
    """Delivered scores remembered per person and model."""
    max_wait_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How long a score waits for experience events that were in Kafka before it was read."""
    max_store_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 30
    """Upper bound of the local store; the file is sparse."""
    corrections: Literal["send", "suppress"] = "send"
    """A delivered score that comes again with other content."""
    cohort: str | None = None
    """Path of the cohort attribute in experience events, such as `_acme.loyalty.tier`."""
    success_types: list[str] = ["purchases", "order"]
    """Standard event types, or values of `eventType`, that count as success events."""
