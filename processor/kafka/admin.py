"""The Kafka admin client: topics, their layout, and offsets, on a connection of its own.

Queries for offsets return at once; what has been answered can be read at any time.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from typing import Any, Final, NamedTuple, Protocol

import confluent_kafka
import structlog
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # as its documentation has it
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.domain.record import Partition
from processor.domain.retry import Retry, RetryPolicy
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger

LAYOUT_RETRY: Final = RetryPolicy(first_seconds=0.5, max_seconds=10.0)
"""Between queries for the layout while no broker answers."""
TOPIC_VISIBLE_RETRY: Final = RetryPolicy(first_seconds=0.2, max_seconds=1.0, budget_seconds=10.0)
"""Between looks for a topic that the controller has just created."""

_LAYOUT_SECONDS: Final = 1.0
_REQUEST_SECONDS: Final = 10.0
_MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001  a public constant

log = structlog.get_logger()


def librdkafka_version() -> str:
    """Return the version of librdkafka."""
    version, _ = confluent_kafka.libversion()
    return str(version)


class Cluster(NamedTuple):
    """A cluster as a broker describes it: `layout` has the partition count of every topic.

    Without a controller, as in the embedded broker, configurations and ids cannot be read.
    """

    id: str
    brokers: int
    has_controller: bool
    layout: dict[str, int]


class OffsetQuery(Protocol):
    """A query in progress; what has been answered can be read at any time."""

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        ...

    def failed(self) -> bool:
        """Return True where Kafka answered nothing for some partition."""
        ...

    def offsets(self) -> dict[Partition, int]:
        """Return the offsets that are known."""
        ...


class KafkaAdmin:
    """One admin client; `name` is part of its client id."""

    def __init__(self, kafka: KafkaSettings, name: str, clock: Clock) -> None:
        self._group_id = kafka.group_id
        self._clock = clock
        self._admin = AdminClient(
            connection(kafka.bootstrap_servers, f"{kafka.group_id}-{name}", kafka.client),
            logger=client_logger(f"kafka-{name}", clock),
        )

    def cluster(self, seconds: float = _REQUEST_SECONDS) -> Cluster:
        """Return the cluster; raises UnavailableError where no broker answers in time."""
        try:
            found = self._admin.list_topics(timeout=seconds)
        except KafkaException as error:
            raise UnavailableError("kafka", error.args[0].str()) from error
        return Cluster(
            str(found.cluster_id),
            len(found.brokers),
            found.controller_id in found.brokers,
            {name: len(each.partitions) for name, each in found.topics.items() if not each.error},
        )

    def create_topic(
        self, topic: str, partitions: int, *, replication: int, config: Mapping[str, str]
    ) -> Cluster:
        """Create a topic unless it exists; return the cluster once brokers know the topic.

        Raises UnavailableError where it cannot be created.
        """
        new = NewTopic(topic, partitions, replication, config=dict(config))
        future = self._admin.create_topics([new], operation_timeout=_REQUEST_SECONDS)[topic]
        try:
            future.result(_REQUEST_SECONDS * 2)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another replica was faster
                sentence = f"topic {topic} cannot be created: {reason.str()}"
                raise UnavailableError("kafka", sentence) from error
        else:
            log.info(
                "A topic was created.",
                code="topic_created",
                topic=topic,
                partition_count=partitions,
            )
        retry = Retry(TOPIC_VISIBLE_RETRY, self._clock)
        while topic not in (cluster := self.cluster()).layout and not retry.exhausted:
            self._clock.wait(retry.failed())
        return cluster

    def topic_config(self, topic: str, key: str) -> str:
        """Return one value of a topic's configuration; raises UnavailableError."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            found = self._admin.describe_configs([resource])[resource].result(_REQUEST_SECONDS)
        except (KafkaException, TimeoutError) as error:
            raise UnavailableError("kafka", str(error)) from error
        return str(found[key].value)

    def topic_id(self, topic: str) -> str:
        """Return the id that tells a topic from earlier ones of its name, empty where unknown."""
        try:
            found = self._admin.describe_topics(TopicCollection([topic]))
            return str(found[topic].result(_REQUEST_SECONDS).topic_id)
        except (KafkaException, TimeoutError):
            return ""

    def allowed_operations(
        self, topics: Iterable[str], seconds: float
    ) -> dict[str, frozenset[str]] | None:
        """Return what this client may do, as `READ`; None where the broker does not report it."""
        try:
            futures = self._admin.describe_topics(
                TopicCollection(list(topics)),
                include_authorized_operations=True,
                request_timeout=seconds,
            )
            found = {name: each.result().authorized_operations for name, each in futures.items()}
        except KafkaException:
            return None
        if any(operations is None for operations in found.values()):
            return None
        return {
            name: frozenset(operation.name for operation in operations)
            for name, operations in found.items()
        }

    def committed(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the group's committed offsets of these partitions, whoever owns them."""
        self._admin.poll(0)
        asked = ConsumerGroupTopicPartitions(
            self._group_id, [TopicPartition(*partition) for partition in partitions]
        )
        futures = self._admin.list_consumer_group_offsets([asked], request_timeout=_REQUEST_SECONDS)
        return _CommittedQuery(futures[self._group_id])

    def ends(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the end of the readable records of these partitions."""
        return self._query(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def ends_within(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, int]:
        """Return the ends that are answered in time."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._query(partitions, latest).wait(seconds)

    def starts_within(
        self, partitions: Iterable[Partition], seconds: float
    ) -> dict[Partition, int]:
        """Return the oldest offsets that are answered in time."""
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        return self._query(partitions, earliest).wait(seconds)

    def idle_member(self, member_id: str) -> "IdleQuery":
        """Query whether the group has this member and is to assign no partition to it."""
        described = self._admin.describe_consumer_groups([self._group_id])
        return IdleQuery(described[self._group_id], member_id)

    def _query(self, partitions: Iterable[Partition], spec: OffsetSpec) -> "_RangeQuery":
        self._admin.poll(0)
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        if not wanted:
            return _RangeQuery({})
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_REQUEST_SECONDS
        )
        return _RangeQuery(
            {Partition(one.topic, one.partition): future for one, future in futures.items()}
        )


class IdleQuery:
    """A query in progress whether a member of the group has no partition, and will get none."""

    def __init__(self, future: "Future[Any]", member_id: str) -> None:
        self._future = future
        self._member_id = member_id

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return bool(self._future.done())

    def is_idle(self) -> bool:
        """Return the answer; False where Kafka does not say."""
        if self._future.exception() is not None:
            return False
        for member in self._future.result().members:
            if member.member_id == self._member_id:
                target = member.target_assignment
                return target is not None and not target.topic_partitions
        return False


class TopicLayout:
    """The partition count of every topic, queried when needed and again after `forget`.

    This is the one place where the running processor reads the layout.
    """

    def __init__(self, admin: KafkaAdmin, clock: Clock) -> None:
        self.admin = admin
        self._retry = Retry(LAYOUT_RETRY, clock)
        self._counts: dict[str, int] = {}

    def counts(self) -> Mapping[str, int]:
        """Return the counts by topic; empty while no broker answers."""
        if not self._counts and self._retry.due:
            try:
                self._counts = self.admin.cluster(_LAYOUT_SECONDS).layout
                self._retry.succeeded()
            except UnavailableError:
                self._retry.failed()
        return self._counts

    def forget(self) -> None:
        """Query again at the next use, as after a rebalance."""
        self._counts = {}
        self._retry.succeeded()


class _RangeQuery:
    """A query for starts or ends, answered for each partition by itself."""

    def __init__(self, futures: Mapping[Partition, "Future[Any]"]) -> None:
        self._futures = futures

    def wait(self, seconds: float) -> dict[Partition, int]:
        """Return what is answered in time."""
        wait(self._futures.values(), timeout=seconds)
        return self.offsets()

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        return all(future.done() for future in self._futures.values())

    def failed(self) -> bool:
        """Return True where a partition has no answer."""
        return self.done() and len(self.offsets()) < len(self._futures)

    def offsets(self) -> dict[Partition, int]:
        """Return what is known: 0 for a partition that does not exist, nothing for a failure."""
        known = {partition: _offset(future) for partition, future in self._futures.items()}
        return {partition: offset for partition, offset in known.items() if offset is not None}


class _CommittedQuery:
    """A query for a group's offsets, answered for all partitions at once."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return self._future.done()

    def failed(self) -> bool:
        """Return True where there is no answer."""
        return self._future.done() and self._future.exception() is not None

    def offsets(self) -> dict[Partition, int]:
        """Return what is known; a partition without a committed offset is left out."""
        if self.failed() or not self._future.done():
            return {}
        found = self._future.result().topic_partitions
        return {Partition(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def _offset(future: "Future[Any]") -> int | None:
    if not future.done():
        return None
    error = future.exception()
    if error is None:
        offset = int(future.result().offset)
        # When the connection is cut meanwhile, the client reports success and the offset -1001.
        return offset if offset >= 0 else None
    if isinstance(error, KafkaException) and error.args[0].code() in _MISSING:
        return 0
    return None
