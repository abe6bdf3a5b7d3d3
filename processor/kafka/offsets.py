"""Where Kafka's partitions begin and end, asked for in one go and never waited for without end.

Which Kafka client this is.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from typing import Any, Protocol

import confluent_kafka
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.domain.clock import Clock
from processor.domain.record import Partition
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger


def librdkafka_version() -> str:
    """Return the version of the C library that speaks to Kafka."""
    version, _ = confluent_kafka.libversion()
    return str(version)


_REQUEST_SECONDS = 10.0
_NOWHERE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001  so it is spelled


class OffsetQuery(Protocol):
    """A question under way; what came back so far can be read at any time."""

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        ...

    def offsets(self) -> dict[Partition, int]:
        """Return what is known."""
        ...


class _Bounds:
    """A question for starts or ends, answered for each partition by itself."""

    def __init__(self, futures: Mapping[Partition, "Future[Any]"]) -> None:
        self._futures = futures

    def wait(self, seconds: float) -> None:
        """Wait for answers, at most so long."""
        wait(self._futures.values(), timeout=seconds)

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        return all(future.done() for future in self._futures.values())

    def offsets(self) -> dict[Partition, int]:
        """Return what is known; a partition that does not exist ends at 0, a failed one is out."""
        known = {partition: _offset(future) for partition, future in self._futures.items()}
        return {partition: offset for partition, offset in known.items() if offset is not None}


class _Committed:
    """A question for what a group has committed, answered for all partitions at once."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return self._future.done()

    def offsets(self) -> dict[Partition, int]:
        """Return what is known; a partition without a committed offset is out."""
        if not self._future.done() or self._future.exception() is not None:
            return {}
        found = self._future.result().topic_partitions
        return {Partition(at.topic, at.partition): at.offset for at in found if at.offset >= 0}


class OffsetQueries:
    """Asks brokers, on a connection of its own."""

    def __init__(self, kafka: KafkaSettings, clock: Clock) -> None:
        self._group = kafka.group_id
        self._admin = AdminClient(
            connection(kafka.bootstrap_servers, f"{kafka.group_id}-offsets", kafka.client),
            logger=client_logger("kafka-offsets", clock),
        )

    def committed(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Ask what the group has committed of these partitions, whoever owns them."""
        self._admin.poll(0)
        places = [TopicPartition(*partition) for partition in partitions]
        asked = ConsumerGroupTopicPartitions(self._group, places)
        futures = self._admin.list_consumer_group_offsets([asked], request_timeout=_REQUEST_SECONDS)
        return _Committed(futures[self._group])

    def ends(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Ask where the readable records of these partitions end."""
        return self._ask(partitions, _latest())

    def ends_within(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, int]:
        """Return the ends that could be had in time."""
        return self._within(self._ask(partitions, _latest()), seconds)

    def starts_within(
        self, partitions: Iterable[Partition], seconds: float
    ) -> dict[Partition, int]:
        """Return the oldest offsets that could be had in time."""
        oldest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        return self._within(self._ask(partitions, oldest), seconds)

    def layout(self, seconds: float) -> dict[str, int]:
        """Return the number of partitions of every topic; nothing where no broker answers."""
        try:
            topics = self._admin.list_topics(timeout=seconds).topics
        except KafkaException:
            return {}
        return {name: len(topic.partitions) for name, topic in topics.items() if not topic.error}

    def _ask(self, partitions: Iterable[Partition], spec: OffsetSpec) -> _Bounds:
        self._admin.poll(0)
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        if not wanted:
            return _Bounds({})
        futures = self._admin.list_offsets(
            wanted,
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_REQUEST_SECONDS,
        )
        return _Bounds({Partition(at.topic, at.partition): each for at, each in futures.items()})

    def _within(self, asked: _Bounds, seconds: float) -> dict[Partition, int]:
        asked.wait(seconds)
        return asked.offsets()


def _latest() -> OffsetSpec:
    spec: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    return spec


def _offset(future: "Future[Any]") -> int | None:
    if not future.done():
        return None
    error = future.exception()
    if error is None:
        offset = int(future.result().offset)
        # Where the connection was cut meanwhile the client reports success, and -1001.
        return offset if offset >= 0 else None
    if isinstance(error, KafkaException) and error.args[0].code() in _NOWHERE:
        return 0
    return None
