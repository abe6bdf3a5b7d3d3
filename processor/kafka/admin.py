"""The Kafka admin client: topics, their layout, and offsets, on a connection of its own.

Queries for offsets return at once; what has been answered can be read at any time.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from threading import Thread
from typing import Final, NamedTuple

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
from processor.kafka.queries import (
    SHORT_WAIT_SECONDS,
    CommittedQuery,
    ConfigQuery,
    IdleQuery,
    OffsetQuery,
    RangeQuery,
    TopicQuery,
)
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger

LAYOUT_RETRY: Final = RetryPolicy(first_seconds=0.5, max_seconds=10.0)
"""Between queries for the layout while no broker answers."""
TOPIC_VISIBLE_RETRY: Final = RetryPolicy(first_seconds=0.2, max_seconds=1.0, budget_seconds=10.0)
"""Between looks for a topic that the controller has just created."""

_REQUEST_SECONDS: Final = 10.0
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

    def query_config(self, topic: str) -> ConfigQuery:
        """Query the configuration of a topic."""
        self._admin.poll(0)
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = self._admin.describe_configs([resource], request_timeout=_REQUEST_SECONDS)
        return ConfigQuery(asked[resource])

    def topic_id(self, topic: str) -> str:
        """Return the id that tells a topic from earlier ones of its name.

        It is empty where the brokers have no ids, or do not tell this client. Where no broker
        answers it is asked again, for ten seconds; then UnavailableError is raised.
        """
        retry = Retry(TOPIC_VISIBLE_RETRY, self._clock)
        while True:
            query = self.describe([topic])
            found = query.wait().topics().get(topic)
            if found is not None:
                return found.id
            log.warning(
                "The id of a topic cannot be read; it is asked again.",
                code="topic_id_unknown",
                topic=topic,
            )
            if retry.exhausted:
                raise UnavailableError("kafka", f"the id of topic {topic} cannot be read")
            self._clock.wait(retry.failed())

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

    def committed(self, partitions: Iterable[Partition]) -> CommittedQuery:
        """Query the group's committed offsets of these partitions, whoever owns them."""
        self._admin.poll(0)
        asked = ConsumerGroupTopicPartitions(
            self._group_id, [TopicPartition(*partition) for partition in partitions]
        )
        futures = self._admin.list_consumer_group_offsets([asked], request_timeout=_REQUEST_SECONDS)
        return CommittedQuery(futures[self._group_id])

    def ends(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the end of the readable records of these partitions."""
        return self._query(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def high_watermarks(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the end of all records of these partitions, those of open transactions included."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._query(partitions, latest, IsolationLevel.READ_UNCOMMITTED)

    def starts(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the oldest offsets of these partitions."""
        return self._query(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def describe(self, topics: Iterable[str]) -> TopicQuery:
        """Query the ids and partition counts of these topics."""
        self._admin.poll(0)
        names = list(topics)
        if not names:
            return TopicQuery({})
        return TopicQuery(
            self._admin.describe_topics(TopicCollection(names), request_timeout=_REQUEST_SECONDS)
        )

    def idle_member(self, member_id: str) -> IdleQuery:
        """Query whether the group has this member and is to assign no partition to it."""
        described = self._admin.describe_consumer_groups([self._group_id])
        return IdleQuery(described[self._group_id], member_id)

    def member_count(self, seconds: float) -> int | None:
        """Return how many members the group has; None where Kafka does not say in time."""
        described = self._admin.describe_consumer_groups([self._group_id], request_timeout=seconds)
        try:
            return len(described[self._group_id].result(seconds * 2).members)
        except (KafkaException, TimeoutError):
            return None

    def _query(
        self,
        partitions: Iterable[Partition],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> RangeQuery:
        self._admin.poll(0)
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        if not wanted:
            return RangeQuery({})
        futures = self._admin.list_offsets(
            wanted, isolation_level=isolation, request_timeout=_REQUEST_SECONDS
        )
        return RangeQuery(
            {Partition(one.topic, one.partition): future for one, future in futures.items()}
        )


class TopicLayout:
    """The partition count of every topic, queried when needed and again after `forget`.

    This is the one place where the running processor reads the layout. The client's call blocks, so
    it is made in a thread: a broker that is far away delays nothing but the answer.
    """

    def __init__(self, admin: KafkaAdmin, clock: Clock) -> None:
        self.admin = admin
        self._retry = Retry(LAYOUT_RETRY, clock)
        self._query: Future[Cluster] | None = None
        self._cluster: Cluster | None = None

    def cluster(self) -> Cluster | None:
        """Return the cluster; None while no broker has answered."""
        if self._cluster is None and self._query is None and self._retry.due:
            self._query = _in_thread(lambda: self.admin.cluster(_REQUEST_SECONDS))
            wait([self._query], timeout=SHORT_WAIT_SECONDS)
        if self._query is not None and self._query.done():
            query, self._query = self._query, None
            try:
                self._cluster = query.result()
                self._retry.succeeded()
            except UnavailableError:
                self._retry.failed()
        return self._cluster

    def counts(self) -> Mapping[str, int]:
        """Return the counts by topic; empty while no broker has answered."""
        cluster = self.cluster()
        return {} if cluster is None else cluster.layout

    def forget(self) -> None:
        """Query again at the next use, as after a rebalance."""
        self._cluster = self._query = None
        self._retry.succeeded()


def _in_thread(call: Callable[[], Cluster]) -> "Future[Cluster]":
    """Run a call in a thread that does not keep the process alive."""
    future: Future[Cluster] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  the future raises it
            future.set_exception(error)

    Thread(target=run, daemon=True, name="kafka-layout").start()
    return future
