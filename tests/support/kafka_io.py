"""What tests with Kafka share: producing, a recording listener, and a small loop."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import Consumer, Producer, TopicPartition

from processor.domain.clock import SystemClock
from processor.domain.control import ControlStore
from processor.domain.record import Headers, Partition, Record
from processor.settings import JoinSettings, KafkaSettings
from processor.simulator.broker import EmbeddedBroker
from processor.source.source import KafkaSource
from processor.source.waiting import KafkaPoll
from processor.telemetry.metrics import Metrics
from tests.support.waiting import until

SCORES = "customer-ai-scores"
EVENTS = "experience-events"


class HasBootstrap(Protocol):
    """A broker, embedded or real."""

    @property
    def bootstrap(self) -> str:
        """Return its address."""
        ...


def produce(
    broker: HasBootstrap,
    topic: str,
    values: Sequence[bytes],
    *,
    partition: int = 0,
    key: bytes | None = b"key",
    headers: Headers = (),
) -> None:
    """Write values to one partition and wait until they are there."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, key=key, partition=partition, headers=list(headers))
    assert producer.flush(10) == 0


def produce_where(
    broker: EmbeddedBroker, topic: str, keys: Sequence[bytes], *, partitioner: str
) -> None:
    """Write one record for each key, wherever a partitioner of librdkafka puts it."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": partitioner})
    for key in keys:
        producer.produce(topic, b"value", key=key)
    assert producer.flush(10) == 0


def committed(broker: HasBootstrap, group: str, *partitions: Partition) -> list[int]:
    """Return a group's offsets as the broker has them; -1001 where it has none."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(*each) for each in partitions], timeout=5)
        return [one.offset for one in found]
    finally:
        consumer.close()


def read_all(broker: EmbeddedBroker, topic: str, count: int) -> list[Record]:
    """Read `count` records from all partitions of a topic, from the start."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    try:
        numbers = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        found: list[Record] = []

        def complete() -> bool:
            found.extend(_record(each) for each in consumer.consume(100, 0.1) if not each.error())
            return len(found) >= count

        until(complete, seconds=8, what=f"{count} records in {topic}", tell=lambda: found)
        return found
    finally:
        consumer.close()


def _record(message: Any) -> Record:  # noqa: ANN401
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )


class RecordingListener:
    """Records its calls in `calls`; runs `on_drain` and `on_assigned` where they are given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Partition, ...]]] = []
        self.on_assigned: Callable[[], object] = bool
        self.on_drain: Callable[[], object] = bool

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.calls.append(("assigned", tuple(sorted(partitions))))
        self.on_assigned()

    def drain(self, partitions: Sequence[Partition]) -> None:
        self.calls.append(("drain", tuple(sorted(partitions))))
        self.on_drain()

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self.calls.append(("revoked", tuple(sorted(partitions))))


_replicas: "list[SourceReplica]" = []


def leave_groups() -> None:
    """Leave the group of every source that a failed test left open.

    The destructor of an open consumer can wait for ever.
    """
    while _replicas:
        replica = _replicas.pop()
        if not replica.is_closed:
            replica.source.close(0.5)


class SourceReplica:
    """A source, its listener and its metrics, and what it has polled so far.

    `classic` groups are slow on the embedded broker: every rebalance but the first takes a whole
    session there.
    """

    def __init__(
        self,
        broker: HasBootstrap,
        *,
        join: JoinSettings | None = None,
        control: ControlStore | None = None,
        **kafka: object,
    ) -> None:
        settings = KafkaSettings.model_validate(
            {
                "bootstrap_servers": broker.bootstrap,
                "group_protocol": "consumer",
                "session_timeout_seconds": 6,
                "commit_seconds": 0.05,
                **kafka,
            }
        )
        self.listener = RecordingListener()
        self.metrics = Metrics()
        self.source = KafkaSource(settings, self.metrics, SystemClock(), join=join, control=control)
        self.polls: list[KafkaPoll] = []
        self.settling = True
        self.is_closed = False
        close = self.source.close

        def note_and_close(seconds: float) -> bool:
            self.is_closed = True
            return close(seconds)

        self.source.close = note_and_close  # type: ignore[method-assign]
        _replicas.append(self)

    def start(self) -> "SourceReplica":
        """Join the group."""
        self.source.start(self.listener)
        return self

    def turn(self) -> KafkaPoll:
        """Poll once, settle where `settling`, and commit when it is time to."""
        polled = self.source.poll(0.05)
        if polled.records:
            self.polls.append(polled)
        if self.settling:
            self.source.settle(polled)
        self.source.commit()
        return polled

    @property
    def values(self) -> list[bytes | None]:
        """The values polled so far, in order."""
        return [record.value for polled in self.polls for record in polled.records]

    def turn_until(self, look: Callable[[], object], what: str, seconds: float = 8) -> None:
        """Turn until `look` returns something true."""

        def turned() -> bool:
            self.turn()
            return bool(look())

        until(turned, seconds=seconds, what=what, every=0.001, tell=lambda: self.values[-5:])

    def read(self, count: int, seconds: float = 8) -> None:
        """Turn until so many records were polled."""
        self.turn_until(lambda: len(self.values) >= count, f"{count} records", seconds)
