"""An embedded Kafka broker: librdkafka's mock cluster, with partitions and faults as requested.

Any Kafka client can connect, on loopback. Limits: it retains 5 MiB per partition and silently
drops older records, it has no compaction, no admin API but listing, no TLS or SASL, and its
transactions have no effect. `close` deletes everything.
"""

import ctypes
from collections.abc import Mapping
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple, Self

from processor.domain.errors import UnavailableError
from processor.simulator.librdkafka import open_library

RETAINED_BYTES = 5 << 20
"""What one partition retains (librdkafka, `rdkafka_mock.c`; not a setting)."""
EVERY_BROKER = -1
_PRODUCER = 0
_INITIAL_REBALANCE_DELAY_MS = 100


class Api(IntEnum):
    """Kafka's request types (Kafka protocol guide, API keys) that the mock cluster answers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    CONSUMER_GROUP_HEARTBEAT = 68


class Request(NamedTuple):
    """One request to a broker; `api` is a plain number if `Api` does not contain it."""

    broker: int
    api: int


class EmbeddedBroker:
    """A Kafka cluster inside this process.

    `topics` maps names to partition counts; any other topic is created with four partitions when
    it is first requested. Broker ids count from 1. Error codes are those of
    `confluent_kafka.KafkaError`; `KafkaError._TRANSPORT` drops the client's connection.
    Raises `UnavailableError` if this librdkafka does not support it.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, brokers: int = 1) -> None:
        self._library = open_library()
        reason = ctypes.create_string_buffer(512)
        settings = self._library.rd_kafka_conf_new()
        # The client inside the cluster has no broker to connect to and would log warnings.
        self._library.rd_kafka_conf_set(settings, b"log_level", b"3", reason, len(reason))
        self._client = self._library.rd_kafka_new(_PRODUCER, settings, reason, len(reason))
        if not self._client:
            raise UnavailableError("embedded broker", reason.value.decode())
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._client)
            raise UnavailableError("embedded broker", f"no mock cluster of {brokers} brokers")
        self.brokers = brokers
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(
            self._cluster, _INITIAL_REBALANCE_DELAY_MS
        )
        for topic, partitions in (topics or {}).items():
            self.create_topic(topic, partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the cluster and delete everything in it; may be called twice."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = self._client = None

    @property
    def bootstrap(self) -> str:
        """Value for a client's `bootstrap.servers`."""
        servers: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._running())
        return servers.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic, replicated to every broker."""
        create = self._library.rd_kafka_mock_topic_create
        self._check(create(self._running(), name.encode(), partitions, self.brokers), name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; it is created again, empty, when a client requests it."""
        self._check(self._library.rd_kafka_mock_topic_delete(self._running(), name.encode()), name)

    def fail_topic(self, name: str, error: int) -> None:
        """Respond to every metadata request for the topic with `error`; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._running(), name.encode(), error)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records of a partition below offset `before`, as retention would."""
        delete = self._library.rd_kafka_mock_partition_delete_records
        self._check(delete(self._running(), topic.encode(), partition, before), topic)

    def move_leader(self, topic: str, partition: int, broker: int) -> None:
        """Make `broker` the leader of a partition."""
        move = self._library.rd_kafka_mock_partition_set_leader
        self._check(move(self._running(), topic.encode(), partition, broker), topic)

    def move_coordinator(self, group: str, broker: int) -> None:
        """Make `broker` the coordinator of a consumer group."""
        move = self._library.rd_kafka_mock_coordinator_set
        self._check(move(self._running(), b"group", group.encode(), broker), group)

    def broker_down(self, broker: int = EVERY_BROKER) -> None:
        """Close a broker's connections and refuse new ones; its records are retained."""
        for number in self._numbers(broker):
            down = self._library.rd_kafka_mock_broker_set_down(self._running(), number)
            self._check(down, f"broker {number}")

    def broker_up(self, broker: int = EVERY_BROKER) -> None:
        """Accept connections to a broker again."""
        for number in self._numbers(broker):
            up = self._library.rd_kafka_mock_broker_set_up(self._running(), number)
            self._check(up, f"broker {number}")

    def rtt(self, milliseconds: int, broker: int = EVERY_BROKER) -> None:
        """Delay every response by this time; 0 ends it."""
        slow = self._library.rd_kafka_mock_broker_set_rtt(self._running(), broker, milliseconds)
        self._check(slow, f"broker {broker}")

    def fail_requests(self, api: Api, *errors: int) -> None:
        """Respond to the next requests of this kind with these errors, one each; 0 is no error."""
        self._library.rd_kafka_mock_push_request_errors_array(
            self._running(), api, len(errors), (ctypes.c_int * len(errors))(*errors)
        )

    def heal_requests(self, api: Api) -> None:
        """Remove the remaining errors of `fail_requests` for this kind."""
        self._library.rd_kafka_mock_clear_request_errors(self._running(), api)

    def track_requests(self) -> None:
        """Record every request from now on, and delete those recorded before."""
        self._library.rd_kafka_mock_start_request_tracking(self._running())
        self._library.rd_kafka_mock_clear_requests(self._running())

    def requests(self) -> list[Request]:
        """Return the requests seen since `track_requests`, in order of arrival."""
        library, count = self._library, ctypes.c_size_t()
        seen = library.rd_kafka_mock_get_requests(self._running(), ctypes.byref(count))
        try:
            return [
                Request(
                    library.rd_kafka_mock_request_id(seen[index]),
                    library.rd_kafka_mock_request_api_key(seen[index]),
                )
                for index in range(count.value)
            ]
        finally:
            library.rd_kafka_mock_request_destroy_array(seen, count)

    def _running(self) -> int:
        if not self._cluster:
            raise UnavailableError("embedded broker", "it is closed")
        cluster: int = self._cluster
        return cluster

    def _numbers(self, broker: int) -> range:
        if broker == EVERY_BROKER:
            return range(1, self.brokers + 1)
        return range(broker, broker + 1)

    def _check(self, code: int, subject: str) -> None:
        if code:
            error: bytes = self._library.rd_kafka_err2str(code)
            raise UnavailableError("embedded broker", f"{subject}: {error.decode()}")
