"""The Kafka consumer behind a wall: no callback of it ever raises, no call of it waits for ever.

An exception that leaves a callback inside `consume()` makes the client drop records without a
word; ours are kept and raised here afterwards, and what was polled meanwhile comes with the next
call.

How the consumer is made: what the delivery guarantee needs, and the user's own on top.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition
from processor.settings import KafkaSettings
from processor.settings.kafka_client import Property, connection
from processor.telemetry.log_limiter import LogLimiter, client_logger
from processor.telemetry.metrics import Metrics

_PREFETCH = {
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 10_000,
    "fetch.queue.backoff.ms": 20,
}
"""Smaller than librdkafka's 64 MiB and 100,000 records a partition, and refilled in time: a full
queue is left alone for so long, and its default of a second leaves a busy partition idle."""


def consumer_properties(kafka: KafkaSettings, *, together: bool) -> dict[str, Property]:
    """Return librdkafka's consumer configuration.

    `together` keeps partitions of the same number of all topics on one member, as the join needs.
    Raises SettingsError where `kafka.client` sets what the guarantee rests on.
    """
    return {
        **_PREFETCH,
        **connection(kafka.bootstrap_servers, kafka.group_id, kafka.client),
        **_group(kafka, together=together),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "check.crcs": True,
        "allow.auto.create.topics": False,
        "max.poll.interval.ms": round(kafka.max_poll_interval_seconds * 1000),
    }


def is_eager(kafka: KafkaSettings, *, together: bool) -> bool:
    """Return True where a rebalance takes all partitions away and hands out all anew.

    Of librdkafka's classic assignors only `range`, an eager one, keeps equal numbers together.
    """
    return together and kafka.group_protocol == "classic"


def _group(kafka: KafkaSettings, *, together: bool) -> dict[str, Property]:
    group: dict[str, Property] = {
        "group.id": kafka.group_id,
        "group.protocol": kafka.group_protocol,
    }
    if kafka.group_instance_id:
        group["group.instance.id"] = kafka.group_instance_id
    if kafka.group_protocol == "classic":
        group["partition.assignment.strategy"] = "range" if together else "cooperative-sticky"
        group["session.timeout.ms"] = round(kafka.session_timeout_seconds * 1000)
    elif together:
        group["group.remote.assignor"] = "range"
    return group


_COMMITTED_SECONDS = 5.0
_CONFIRM_STEP_SECONDS = 0.05

log = structlog.get_logger()


class ConsumerListener(Protocol):
    """Who hears of the assignment and of commits; all of it inside `KafkaConsumer.consume`."""

    def gained(self, partitions: Sequence[Partition]) -> None:
        """Hear of new partitions and say where to begin, through `KafkaConsumer.take`."""
        ...

    def losing(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that another member gets once this returns."""
        ...

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that another member may have already."""
        ...

    def acknowledged(self, offsets: Mapping[Partition, int], error: KafkaError | None) -> None:
        """Hear how a commit ended."""
        ...


class KafkaConsumer:
    """One consumer. `eager` says whether a rebalance moves everything at once."""

    def __init__(
        self, properties: Mapping[str, Property], metrics: Metrics, clock: Clock, *, eager: bool
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._eager = eager
        self._limiter = LogLimiter(clock)
        self._fault: BaseException | None = None
        self._kept: list[Message] = []
        self._watcher: ConsumerListener | None = None
        self._consumer = Consumer(
            {
                **properties,
                "error_cb": self._guarded("error", self._on_error),
                "on_commit": self._guarded("commit", self._on_commit),
            },
            logger=client_logger("kafka-consumer", clock),
        )

    def subscribe(self, topics: list[str], watcher: ConsumerListener) -> None:
        """Join the group; from now on `consume` must be called often enough."""
        self._watcher = watcher
        self._consumer.subscribe(
            topics,
            on_assign=self._guarded("assign", lambda _, given: watcher.gained(_plain(given))),
            on_revoke=self._guarded("revoke", self._on_revoke),
            on_lost=self._guarded("lost", self._on_lost),
        )

    def consume(self, count: int, seconds: float) -> list[Message]:
        """Return what came, errors among it; raises what a callback raised meanwhile."""
        messages, self._kept = self._kept, []
        if not messages:
            messages = self._consumer.consume(count, seconds)
        if self._fault is not None:
            self._kept, fault, self._fault = messages, self._fault, None
            raise fault
        return messages

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the group's offsets; what is missing, or not to be had now, is left out."""
        try:
            found = self._consumer.committed(_places(partitions), _COMMITTED_SECONDS)
        except KafkaException as error:
            self.report(error.args[0], "committed")
            return {}
        return {_partition(at): at.offset for at in found if at.offset >= 0 and not at.error}

    def take(self, starts: Mapping[Partition, int | None]) -> None:
        """Accept what was gained, beginning where said; None leaves it to the client."""
        places = [
            TopicPartition(*partition, OFFSET_INVALID if start is None else start)
            for partition, start in starts.items()
        ]
        if self._eager:
            self._consumer.assign(places)
        else:
            self._consumer.incremental_assign(places)

    def move(self, to: Mapping[Partition, int], stand: Mapping[Partition, int | None]) -> None:
        """Go on elsewhere: the client can not seek where it has no position to leave.

        `stand` is where the other partitions are; an eager group knows only whole assignments.
        """
        if self._eager:
            self.take({**stand, **to})
            return
        self._consumer.incremental_unassign(_places(to))
        self.take(to)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Fetch no more of these; what was fetched ahead is thrown away by the client."""
        if places := _places(partitions):
            self._consumer.pause(places)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""
        if places := _places(partitions):
            self._consumer.resume(places)

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Send a commit and return; the watcher hears how it ends. False: it could not be sent."""
        places = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self.report(error.args[0], "commit")
            return False
        return True

    def confirm(self, offsets: Mapping[Partition, int], seconds: float) -> bool:
        """Commit and ask Kafka whether it is done, for so long at most.

        The client's own synchronous commit knows no timeout, and waits for a dead coordinator as
        long as a session lasts.
        """
        deadline = Deadline(self._clock, seconds)
        while offsets and not deadline.over():
            if self.commit(offsets) and self._stored(offsets, deadline):
                return True
            self._clock.wait(min(_CONFIRM_STEP_SECONDS, deadline.left()))
        return not offsets

    def close(self, seconds: float) -> None:
        """Leave the group; where that takes too long it is left behind, and the group waits."""
        leaving = threading.Thread(target=self._consumer.close, daemon=True, name="kafka-close")
        leaving.start()
        leaving.join(seconds)
        if leaving.is_alive():
            log.warning("The group was not left in time; it will miss this member for a while.")

    def report(self, error: KafkaError, where: str) -> None:
        """Count an error, and log it once in a while."""
        fatal = error.fatal()
        self._metrics.counter("kafka_errors", error.name(), str(fatal).lower()).inc()
        suppressed = self._limiter.due(error.name())
        if suppressed is not None:
            log.warning(
                "Kafka reported an error.",
                code=error.name(),
                words=error.str(),
                fatal=fatal,
                where=where,
                suppressed=suppressed,
            )

    def _stored(self, offsets: Mapping[Partition, int], deadline: Deadline) -> bool:
        try:
            found = self._consumer.committed(_places(offsets), max(0.01, deadline.left()))
        except KafkaException:
            return False
        return all(at.offset >= offsets[_partition(at)] for at in found)

    def _guarded(self, name: str, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:  # noqa: ANN401
            try:
                callback(*args)
            except BaseException as error:  # noqa: BLE001  see the module's first lines
                self._metrics.counter("callback_errors", name).inc()
                self._fault = self._fault or error

        return guarded

    def _on_error(self, error: KafkaError) -> None:
        self.report(error, "client")

    def _on_commit(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        if self._watcher is None:
            return
        offsets = {_partition(at): at.offset for at in places if at.offset >= 0 and not at.error}
        first = next((at.error for at in places if at.error), None)
        self._watcher.acknowledged({} if error else offsets, error or first)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        try:
            if self._watcher is not None:
                self._watcher.losing(_plain(places))
        finally:
            self._leave(consumer, places)

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        try:
            if self._watcher is not None:
                self._watcher.lost(_plain(places))
        finally:
            self._leave(consumer, places)

    def _leave(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        if self._eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign(places)


def _partition(at: TopicPartition) -> Partition:
    return Partition(at.topic, at.partition)


def _plain(places: Iterable[TopicPartition]) -> list[Partition]:
    return [_partition(at) for at in places]


def _places(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]
