"""The changelog topic, read: slices of partitions, from an offset to their end."""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from processor.domain.clock import Clock
from processor.settings.kafka_client import Property
from processor.telemetry.log_limiter import client_logger
from processor.telemetry.metrics import Metrics

_RECORDS: Final = 5_000
_NOWHERE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001


class PartitionSlice(msgspec.Struct):
    """What was read of one partition: person keys and values (None: a tombstone), in order.

    `next_offset` is where the next slice begins, None where nothing was read. `ended` tells that
    this is the end of the partition, `nowhere` that the offset asked for is not in it.
    """

    records: list[tuple[bytes, bytes | None]] = []
    next_offset: int | None = None
    ended: bool = False
    nowhere: bool = False


class PartitionReader(Protocol):
    """Where slices come from."""

    unavailable_reason: str | None
    """Why nothing comes; None while all is well."""

    def begin(self, partition: int, offset: int | None) -> None:
        """Read a partition from an offset on, or from its beginning."""
        ...

    def end(self, partition: int) -> None:
        """Read this partition no longer; one that is not read is fine."""
        ...

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        """Return what came, waiting at most so long."""
        ...

    def remaining(self, partition: int, offset: int) -> int:
        """Return how many offsets lie ahead of one, so far as is known."""
        ...

    def close(self) -> None:
        """Read nothing any more."""
        ...


class TopicReader:
    """A consumer without a group's membership, that reads what it is told to."""

    def __init__(
        self, properties: Mapping[str, Property], topic: str, metrics: Metrics, clock: Clock
    ) -> None:
        self.unavailable_reason: str | None = None
        self._topic = topic
        self._metrics = metrics
        self._reading: set[int] = set()
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": 65_536,
                "fetch.wait.max.ms": 50,
                **properties,
                "group.id": f"{topic}-restore",  # the client wants one; nothing is committed
                "auto.offset.reset": "error",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "check.crcs": True,
                "allow.auto.create.topics": False,
                "error_cb": self._on_error,
            },
            logger=client_logger("changelog-reader", clock),
        )

    def begin(self, partition: int, offset: int | None) -> None:
        """Read a partition from an offset on, or from its beginning."""
        self.end(partition)
        start = OFFSET_BEGINNING if offset is None else offset
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, start)])
        self._reading.add(partition)

    def end(self, partition: int) -> None:
        """Read this partition no longer; one that is not read is fine."""
        if partition in self._reading:
            self._reading.remove(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        """Return what came, waiting at most so long."""
        slices: dict[int, PartitionSlice] = {}
        for message in self._consumer.consume(_RECORDS, seconds):
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None and error.code() not in {KafkaError._PARTITION_EOF, *_NOWHERE}:  # noqa: SLF001
                self.unavailable_reason = f"changelog: {error.str()}"
            elif partition in self._reading:
                _add(slices.setdefault(partition, PartitionSlice()), message, error, offset or 0)
                self.unavailable_reason = None
        return slices

    def remaining(self, partition: int, offset: int) -> int:
        """Return how many offsets lie ahead of one, so far as is known."""
        place = TopicPartition(self._topic, partition)
        try:
            end = self._consumer.get_watermark_offsets(place, cached=True)[1]
        except KafkaException:
            return 0
        return max(0, end - offset)

    def close(self) -> None:
        """Read nothing any more."""
        self._reading.clear()
        self._consumer.close()

    def _on_error(self, error: KafkaError) -> None:
        # An exception that leaves this callback would cost the records being consumed.
        try:
            self._metrics.counter("kafka_errors", error.name(), str(error.fatal()).lower()).inc()
            self.unavailable_reason = f"changelog: {error.str()}"
        except Exception:  # noqa: BLE001  see above
            self._metrics.counter("callback_errors", "changelog_reader").inc()


def _add(piece: PartitionSlice, message: Message, error: KafkaError | None, offset: int) -> None:
    if error is None:
        piece.next_offset = offset + 1
        key = message.key()
        if key:
            piece.records.append((key, message.value()))
    elif error.code() in _NOWHERE:
        piece.nowhere = True
    else:
        piece.next_offset = offset
        piece.ended = True
