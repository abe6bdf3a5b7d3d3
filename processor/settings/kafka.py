"""Settings: Kafka consumer, input topics, schema registry and dead letters."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.kafka_client import Client
from processor.settings.section import Section


def matches_topic(entry: str, topic: str) -> bool:
    """Return whether an entry of `topics`, a name or a pattern, matches this topic."""
    return re.match(entry, topic) is not None if entry.startswith("^") else entry == topic


class InputSettings(Section):
    """One kind of input: its topics and the format of the record values."""

    topics: Annotated[list[str], Field(min_length=1)]
    """Topic names; a name that starts with `^` is a regular expression."""
    format: Literal["auto", "json", "avro", "avro-plain", "json-schema"] = "auto"
    """`auto` reads JSON and Confluent-framed Avro and JSON Schema, distinguished by the first byte.
    `avro` and `json-schema` require the frame; `avro-plain` has no frame and needs
    `schema_name`."""
    schema_name: str | None = None
    """`avro-plain` only: the writer's schema, a file under `schemas/avro/` (or that of
    `registry.folder`) without its suffix."""
    gaps_expected: bool = False
    """Set it if the topics are compacted or written in transactions, so that offsets are missing;
    otherwise every gap is counted and logged as a warning."""

    def takes(self, topic: str) -> bool:
        """Return whether a topic is one of these, by name or by pattern."""
        return any(matches_topic(entry, topic) for entry in self.topics)


class RegistrySettings(Section):
    """Where the writer schemas of framed records are looked up."""

    url: str | None = None
    """A Confluent-compatible registry; by default ids are read from `avro/ids.json` in `folder`."""
    folder: Path | None = None
    """A folder with the layout of the packaged `schemas/`, to use instead of it."""
    username: str | None = None
    """User name for HTTP basic authentication."""
    password: SecretStr | None = None
    """The password; better set in a file or in `CAI__REGISTRY__PASSWORD`."""
    password_file: Path | None = None
    """File with the password, read at start, instead of `password`."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Time limit for one response."""
    unknown_id_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long the lookup of an unknown schema id is repeated before its records are dead-lettered;
    producers may be ahead of a registry's replicas."""


class KafkaSettings(Section):
    """The Kafka consumer."""

    bootstrap_servers: Annotated[str, Field(min_length=1, examples=["kafka-1:9092,kafka-2:9092"])]
    """Brokers to connect to first, as `host:port`, separated by commas."""
    group_id: Annotated[str, Field(min_length=1)] = "customer-ai-scores"
    """The consumer group; all replicas are members of it."""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """`consumer` is the protocol of KIP-848 and needs brokers 4.0 or later."""
    group_instance_id: str | None = None
    """Static membership: a stable name of this replica; a restart then moves no partitions."""
    session_timeout_seconds: Annotated[float, Field(ge=6, le=1800)] = 45.0
    """A replica without heartbeats loses its partitions after this time. `classic` only: a KIP-848
    group uses the broker's setting."""
    max_poll_interval_seconds: Annotated[float, Field(ge=10)] = 300.0
    """A replica that does not poll for this long loses its partitions."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group begins that has never been here. Partitions and topics that appear later are
    read from their start."""
    on_gap: Literal["stop", "continue"] = "stop"
    """What to do if the group cannot read on at its offset: Kafka deleted the records there, the
    log ends before, the topic was deleted and created anew, or the group's offsets are gone. `stop`
    pauses all intake until the command `resume`; `continue` counts it and goes on with the oldest
    record. Where that would send scores again that cannot be recognised as duplicates (without
    `join.enabled`), `continue` pauses too."""
    poll_records: Annotated[int, Field(ge=1, le=20_000)] = 500
    """Maximum number of records in one batch."""
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 0.1
    """How long a poll waits until a batch is full."""
    max_uncommitted_records: Annotated[int, Field(ge=1_000)] = 20_000
    """Intake is paused at this number of records that are polled and not yet committed."""
    partitioner: Literal["murmur2", "crc32", "any"] = "murmur2"
    """How producers choose the partition of a key; a record on another partition is counted and
    logged as a warning. Java clients use `murmur2`, librdkafka by default `crc32`. `any` checks
    nothing."""
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Minimum time between two commits of a partition."""
    commit_age_limit_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Sending is paused if nothing could be committed for this long although work is settled."""
    scores: InputSettings = InputSettings(topics=["customer-ai-scores"])
    """The Customer AI scores."""
    events: InputSettings | None = InputSettings(topics=["experience-events"])
    """The experience events; null if there are none to read."""
    control_topic: Annotated[str, Field(min_length=1)] = "customer-ai-control"
    """Compacted topic of one partition for what must outlive a process and is not person state:
    pauses, skips, and the layout of the topics. Groups may share it. It is created as the changelog
    is (`join.create_changelog`, `join.changelog_replication`), also without the join."""
    client: Client = {}
    """Passed to librdkafka unchanged: `security.protocol`, `sasl.*`, `ssl.*` and so on. With
    `.file` appended to its name, a value is read from that file, as in
    `sasl.password.file: /run/secrets/kafka_password`."""


class DeadLetterSettings(Section):
    """Where rejected records go, and how many of them pause intake until the command `resume`."""

    topic: str = "customer-ai-dead-letters"
    """The dead-letter topic. It must exist; it contains personal data, so set its retention."""
    stop_after_consecutive: Annotated[int, Field(ge=0)] = 10_000
    """Pause if this many records in a row were rejected, or refused by the inlet in requests of
    which it accepted nothing; 0 = never."""
    stop_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Pause if more than this share of the last `stop_window` records was rejected or refused;
    0 = never."""
    stop_window: Annotated[int, Field(ge=100)] = 50_000
    """Number of records over which `stop_ratio` is computed."""
    delivery_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A dead letter not acknowledged in this time is written again; intake is paused meanwhile."""
    client: Client = {}
    """Added to `kafka.client` for the producer of dead letters."""
