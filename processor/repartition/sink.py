"""The repartition topic, written: facts to the partition of their person.

It is used where experience events are keyed otherwise than scores.
"""

from collections.abc import Sequence
from typing import Final

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError
from processor.kafka.internal_topic import OwnTopicWatch
from processor.kafka.producer import KafkaProducer, KafkaWrite, OutgoingMessage, ProducerConfig
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.catalogue import REPARTITION_WRITES
from processor.telemetry.metrics import Metrics

_LIBRDKAFKA_NAMES: Final = {"murmur2": "murmur2", "crc32": "consistent"}


class NoRepartitionSink:
    """Writes nothing: experience events are keyed as scores are."""

    unavailable_reason: str | None = None

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> KafkaWrite:
        """Return at once; raises InvariantError where there is anything to send."""
        if messages:
            raise InvariantError("There is no repartition topic.")
        return KafkaWrite(0)

    def poll(self) -> None:
        """Return at once."""

    def close(self, seconds: float) -> bool:
        """Return at once."""
        del seconds
        return True


class KafkaRepartitionSink:
    """The repartition topic. What cannot be written now is written later, never lost.

    A message that is there twice, or that overtakes another, changes nothing: facts are merged.
    Keys choose partitions as they do for the producers of scores (`kafka.partitioner`).
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        metrics: Metrics,
        clock: Clock,
        watch: OwnTopicWatch | None = None,
    ) -> None:
        self._watch = watch
        client = connection(kafka.bootstrap_servers, f"{kafka.group_id}-repartition", kafka.client)
        config = ProducerConfig(
            part="repartition",
            topic=topic,
            writes=REPARTITION_WRITES,
            client=client,
            partitioner=_LIBRDKAFKA_NAMES[kafka.partitioner],
        )
        self._producer = KafkaProducer(config, metrics, clock)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why messages cannot be written now; None while they can."""
        fault = None if self._watch is None else self._watch.fault
        return fault or self._producer.unavailable_reason

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> KafkaWrite:
        """Write keys and values; never blocks. Ask the answer's `done` after later polls."""
        return self._producer.send(OutgoingMessage(key, value) for key, value in messages)

    def poll(self) -> None:
        """Serve reports and retries; called on every turn of the loop."""
        self._producer.poll()
        if self._watch is not None:
            self._watch.follow()

    def close(self, seconds: float) -> bool:
        """Write what is left within `seconds`.

        Returns False where messages stay unwritten, and so their records uncommitted.
        """
        self._producer.close(seconds)
        return not self._producer.unwritten
