"""Settings: the left door."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.kafka_client import Client
from processor.settings.section import Section


def means(entry: str, topic: str) -> bool:
    """Return True where an entry of `topics`, a name or a pattern, means this topic."""
    return re.match(entry, topic) is not None if entry.startswith("^") else entry == topic


class InputSettings(Section):
    """One kind of input: where its records are and how their values are written."""

    topics: Annotated[list[str], Field(min_length=1)]
    """Topic names; a name that begins with `^` is a pattern."""
    format: Literal["auto", "json", "avro", "avro-plain", "json-schema"] = "auto"
    """`auto` reads JSON and Confluent-framed Avro and JSON Schema, told apart by the first byte.
    `avro` and `json-schema` insist on the frame, `avro-plain` has none and needs
    `schema_name`."""
    schema_name: str | None = None
    """`avro-plain` only: the writer's schema, a file under `schemas/avro/` (or that of
    `registry.folder`) without its suffix."""
    gaps_expected: bool = False
    """The topics are compacted or written in transactions, so that their offsets have holes; where
    they are not, every hole is counted and warned of."""

    def takes(self, topic: str) -> bool:
        """Return whether a topic is one of these, by name or by pattern."""
        return any(means(entry, topic) for entry in self.topics)


class RegistrySettings(Section):
    """Where writer schemas of framed records are looked up."""

    url: str | None = None
    """A Confluent-compatible registry. Without one, ids come from `avro/ids.json` in `folder`."""
    folder: Path | None = None
    """A folder laid out like the `schemas/` that ships with the processor, in place of it."""
    username: str | None = None
    """For HTTP basic authentication."""
    password: SecretStr | None = None
    """Better in a file or in `CAI__REGISTRY__PASSWORD`."""
    password_file: Path | None = None
    """Read at start, in place of `password`."""
    ca_file: Path | None = None
    """Certificates to trust in place of the system's."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Time for one answer."""
    unknown_id_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long an id the registry does not know is asked for again before its records are
    dead-lettered; producers may be ahead of a registry's replicas."""


class KafkaSettings(Section):
    """The consumer."""

    bootstrap_servers: Annotated[str, Field(min_length=1, examples=["kafka-1:9092,kafka-2:9092"])]
    """Brokers to begin with, as `host:port` with commas between them."""
    group_id: Annotated[str, Field(min_length=1)] = "customer-ai-scores"
    """The consumer group; all replicas are members of it."""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """`consumer` is KIP-848 and needs brokers from 4.0 on."""
    group_instance_id: str | None = None
    """Static membership: a stable name of this replica; a restart then moves no partition."""
    session_timeout_seconds: Annotated[float, Field(ge=6, le=1800)] = 45.0
    """A silent replica loses its partitions after so long. `classic` only: a KIP-848 group has the
    broker's setting."""
    max_poll_interval_seconds: Annotated[float, Field(ge=10)] = 300.0
    """A replica that does not poll for so long loses its partitions."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group without a committed offset begins."""
    on_gap: Literal["stop", "continue"] = "stop"
    """What to do where Kafka deleted records before they were read. `continue` counts them and goes
    on with the oldest record that is left."""
    poll_records: Annotated[int, Field(ge=1, le=20_000)] = 500
    """Records in one batch at most."""
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 0.1
    """How long a poll waits for a batch to fill."""
    max_uncommitted_records: Annotated[int, Field(ge=1_000)] = 20_000
    """Intake stops at so many records that are polled and not yet committed."""
    partitioner: Literal["murmur2", "crc32", "any"] = "murmur2"
    """How producers place keys; a record that is elsewhere is counted and warned of. Java clients
    use `murmur2`; librdkafka uses `crc32` unless told otherwise. `any` looks at none."""
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Commits of a partition are at least so far apart."""
    commit_age_limit_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Sending stops when nothing could be committed for so long although work is settled."""
    scores: InputSettings = InputSettings(topics=["customer-ai-scores"])
    """The Customer AI scores."""
    events: InputSettings | None = InputSettings(topics=["experience-events"])
    """The experience events; null where there are none to read."""
    client: Client = {}
    """Passed to librdkafka as it stands: `security.protocol`, `sasl.*`, `ssl.*` and the like. With
    `.file` after its name a value is read from that file, as in
    `sasl.password.file: /run/secrets/kafka_password`."""


class DeadLetterSettings(Section):
    """Where rejected records go, and when too many of them stop the house."""

    topic: str = "customer-ai-dead-letters"
    """Where letters go; it must exist, and hold personal data no longer than you may."""
    stop_after_consecutive: Annotated[int, Field(ge=0)] = 10_000
    """Stop when so many records in a row were rejected, or refused by the inlet in batches of which
    it took nothing; 0 = never."""
    stop_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Stop when more than this share of the last `stop_window` records was rejected or refused;
    0 = never."""
    stop_window: Annotated[int, Field(ge=100)] = 50_000
    """Records over which the ratio is taken."""
    delivery_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    """After so long an unacknowledged letter is written again; intake is held meanwhile."""
    client: Client = {}
    """Added to `kafka.client` for the dead-letter producer."""
