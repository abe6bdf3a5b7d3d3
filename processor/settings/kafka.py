"""Settings: the left door."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.page import Page

__all__ = ["DeadLetterSettings", "InputSettings", "KafkaSettings", "RegistrySettings"]


class InputSettings(Page):
    """One kind of input: where its records are and how their values are written."""

    topics: Annotated[list[str], Field(min_length=1)]
    """Topic names; a name that begins with `^` is a pattern."""
    format: Literal["auto", "json", "avro", "avro-plain", "json-schema"] = "auto"
    """`auto` reads JSON and Confluent-framed Avro and JSON Schema, told apart by the first byte.
    `avro` and `json-schema` insist on the frame, `avro-plain` has none and needs `schema`."""
    schema_name: str | None = None
    """`avro-plain` only: the writer's schema, a file under `schemas/avro/` without its suffix."""


class RegistrySettings(Page):
    """Where writer schemas of framed records are looked up."""

    url: str | None = None
    """A Confluent-compatible registry. Without one, ids come from `schemas/avro/ids.json`."""
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    unknown_id_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long an id the registry does not know is asked for again before its records are
    dead-lettered; producers may be ahead of a registry's replicas."""


class KafkaSettings(Page):
    """The consumer."""

    bootstrap_servers: str
    group_id: str = "customer-ai-scores"
    group_protocol: Literal["classic", "consumer"] = "classic"
    """`consumer` is KIP-848 and needs brokers from 4.0 on."""
    group_instance_id: str | None = None
    """Static membership: a stable name of this replica; a restart then moves no partition."""
    session_timeout_seconds: Annotated[float, Field(ge=6, le=1800)] = 45.0
    max_poll_interval_seconds: Annotated[float, Field(ge=10)] = 300.0
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group without a committed offset begins."""
    on_gap: Literal["stop", "continue"] = "stop"
    """What to do where Kafka deleted records before they were read. `continue` counts them and goes
    on with the oldest record that is left."""
    poll_records: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 0.1
    max_uncommitted_records: Annotated[int, Field(ge=1_000)] = 20_000
    """Intake stops at so many records that are polled and not yet committed."""
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Commits of a partition are at least so far apart."""
    commit_age_limit_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Sending stops when nothing could be committed for so long although work is settled."""
    scores: InputSettings = InputSettings(topics=["customer-ai-scores"])
    events: InputSettings | None = InputSettings(topics=["experience-events"])
    client: dict[str, str | int | float | bool | SecretStr] = {}
    """Passed to librdkafka as it stands: `security.protocol`, `sasl.*`, `ssl.*` and the like."""


class DeadLetterSettings(Page):
    """Where rejected records go, and when too many of them stop the house."""

    topic: str = "customer-ai-dead-letters"
    stop_after_consecutive: Annotated[int, Field(ge=0)] = 10_000
    """Stop when so many records in a row were rejected; 0 = never."""
    stop_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Stop when more than this share of the last `stop_window` records was rejected; 0 = never."""
    stop_window: Annotated[int, Field(ge=100)] = 50_000
    delivery_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    client: dict[str, str | int | float | bool | SecretStr] = {}
    """Added to `kafka.client` for the dead-letter producer."""
