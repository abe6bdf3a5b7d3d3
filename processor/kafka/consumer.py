"""The Kafka consumer: no callback of it ever raises, no call of it waits without end.

An exception that leaves a callback inside `consume()` makes confluent-kafka drop the records of
that call silently. Here the exception is kept and raised after the call, and the records that were
polled meanwhile are returned by the next one.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

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
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.messages import KafkaFault
from processor.settings import KafkaSettings
from processor.settings.kafka_client import Property, connection
from processor.telemetry.catalogue import CALLBACK_ERRORS, KAFKA_ERRORS
from processor.telemetry.labels import Callback
from processor.telemetry.log_limiter import LogLimiter, client_logger
from processor.telemetry.metrics import Metrics

SAFE_PROPERTIES: Final[Mapping[str, Property]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "check.crcs": True,
    "allow.auto.create.topics": False,
}
"""What every consumer is made with: nothing is committed, skipped or created silently."""

# Smaller than librdkafka's 64 MiB and 100,000 records a partition. A full queue is not refilled
# before the backoff is over; its default of a second leaves a busy partition idle.
_PREFETCH: Final = {
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 10_000,
    "fetch.queue.backoff.ms": 20,
    # A partition that is added is read within this time; the default is five minutes.
    "topic.metadata.refresh.interval.ms": 10_000,
}
_COMMITTED_SECONDS: Final = 1.0
"""The loop waits so long at an assignment; an answer that takes longer is asked for beside it."""
COMMIT_CONFIRMATION_RETRY: Final = RetryPolicy(first_seconds=0.05, max_seconds=0.2)
"""Between the attempts of a commit that must be confirmed before partitions are released."""

log = structlog.get_logger()


def consumer_properties(kafka: KafkaSettings, *, together: bool) -> dict[str, Property]:
    """Return librdkafka's configuration of the group's consumer.

    `together` assigns partitions of the same number of all topics to one member, as the join
    needs. Raises SettingsError where `kafka.client` sets a property of the delivery guarantee.
    """
    group: dict[str, Property] = {
        "group.id": kafka.group_id,
        "group.protocol": kafka.group_protocol,
        "max.poll.interval.ms": round(kafka.max_poll_interval_seconds * 1000),
    }
    if kafka.group_instance_id:
        group["group.instance.id"] = kafka.group_instance_id
    if kafka.group_protocol == "classic":
        group["partition.assignment.strategy"] = "range" if together else "cooperative-sticky"
        group["session.timeout.ms"] = round(kafka.session_timeout_seconds * 1000)
    elif together:
        group["group.remote.assignor"] = "range"
    servers = connection(kafka.bootstrap_servers, kafka.group_id, kafka.client)
    return {**_PREFETCH, **servers, **group, **SAFE_PROPERTIES}


def is_eager(kafka: KafkaSettings, *, together: bool) -> bool:
    """Return True where a rebalance revokes all partitions and assigns all anew.

    Of librdkafka's classic assignors only `range`, an eager one, keeps equal numbers together.
    """
    return together and kafka.group_protocol == "classic"


class ClientCallbacks:
    """What the callbacks of one client share: errors are reported, exceptions kept."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._limiter = LogLimiter(clock)
        self.raised: BaseException | None = None

    def guarded(self, name: Callback, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that never raises; `raised` has the first exception."""

        def guarded(*args: Any) -> None:  # noqa: ANN401
            try:
                callback(*args)
            except BaseException as error:  # noqa: BLE001  see the module's docstring
                self._metrics.counter(CALLBACK_ERRORS, name).inc()
                self.raised = self.raised or error

        return guarded

    def report(self, fault: KafkaFault, where: str) -> None:
        """Count an error of the client, and log it unless it was logged lately."""
        fatal: Literal["true", "false"] = "true" if fault.fatal else "false"
        self._metrics.counter(KAFKA_ERRORS, fault.name, fatal).inc()
        suppressed = self._limiter.due(fault.name)
        if suppressed is not None:
            log.warning(
                "Kafka reported an error.",
                code="kafka_error",
                kafka_code=fault.name,
                error=fault.error,
                fatal=fault.fatal,
                where=where,
                suppressed=suppressed,
            )


class CommittedOffset(NamedTuple):
    """An offset of the group as Kafka has it, with the text that was stored beside it."""

    offset: int
    metadata: str


class ConsumerListener(Protocol):
    """Called on assignments and commits, always inside `KafkaConsumer.consume`."""

    def partitions_assigned(self, partitions: Sequence[Partition]) -> None:
        """Called with new partitions; must assign their offsets by `KafkaConsumer.assign`."""
        ...

    def partitions_revoked(self, partitions: Sequence[Partition]) -> None:
        """Called with partitions that another member gets once this returns."""
        ...

    def partitions_lost(self, partitions: Sequence[Partition]) -> None:
        """Called with partitions that another member may already have."""
        ...

    def commit_completed(
        self, stored: Mapping[Partition, CommittedOffset], fault: KafkaFault | None
    ) -> None:
        """Called with what a commit stored, and what failed of it."""
        ...


class KafkaConsumer:
    """A member of the group. `eager` says whether a rebalance revokes all partitions at once."""

    def __init__(
        self, properties: Mapping[str, Property], metrics: Metrics, clock: Clock, *, eager: bool
    ) -> None:
        self._clock = clock
        self._eager = eager
        self._callbacks = ClientCallbacks(metrics, clock)
        self._undelivered: list[Message] = []
        self._listener: ConsumerListener | None = None
        guarded = self._callbacks.guarded
        self._consumer = Consumer(
            {
                **properties,
                "error_cb": guarded(
                    Callback.ERROR, lambda error: self.report(KafkaFault.of(error))
                ),
                "on_commit": guarded(Callback.COMMIT, self._on_commit),
            },
            logger=client_logger("kafka-consumer", clock),
        )

    @property
    def member_id(self) -> str:
        """Return the id of this member, empty where it has none yet."""
        return self._consumer.memberid() or ""

    def subscribe(self, topics: list[str], listener: ConsumerListener) -> None:
        """Join the group; from now on `consume` must be called often enough."""
        self._listener = listener
        guarded = self._callbacks.guarded

        def on_revoke(_: Consumer, revoked: list[TopicPartition]) -> None:
            self._leave(revoked, listener.partitions_revoked)

        def on_lost(_: Consumer, lost: list[TopicPartition]) -> None:
            self._leave(lost, listener.partitions_lost)

        self._consumer.subscribe(
            topics,
            on_assign=guarded(
                Callback.ASSIGN, lambda _, new: listener.partitions_assigned(_partitions(new))
            ),
            on_revoke=guarded(Callback.REVOKE, on_revoke),
            on_lost=guarded(Callback.LOST, on_lost),
        )

    def consume(self, count: int, seconds: float) -> list[Message]:
        """Return new messages, errors among them; raises what a callback raised meanwhile."""
        messages, self._undelivered = self._undelivered, []
        if not messages:
            messages = self._consumer.consume(count, seconds)
        if self._callbacks.raised is not None:
            raised, self._callbacks.raised = self._callbacks.raised, None
            self._undelivered = messages
            raise raised
        return messages

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, CommittedOffset]:
        """Return the group's offsets; those that are missing or unavailable are left out."""
        try:
            found = self._consumer.committed(_topic_partitions(partitions), _COMMITTED_SECONDS)
        except KafkaException as error:
            self.report(KafkaFault.of(error.args[0]), "committed")
            return {}
        return {
            _partition(one): CommittedOffset(one.offset, one.metadata or "")
            for one in found
            if one.offset >= 0 and not one.error
        }

    def assign(self, starts: Mapping[Partition, int | None]) -> None:
        """Accept new partitions and where to read them from; None reports NO_VALID_OFFSET."""
        assigned = [
            TopicPartition(*partition, OFFSET_INVALID if start is None else start)
            for partition, start in starts.items()
        ]
        if self._eager:
            self._consumer.assign(assigned)
        else:
            self._consumer.incremental_assign(assigned)

    def reassign(
        self, offsets: Mapping[Partition, int], others: Mapping[Partition, int | None]
    ) -> None:
        """Continue these partitions at other offsets.

        librdkafka cannot seek in a partition that has no valid offset, so they are assigned anew.
        `others` has the offsets of all partitions, which an eager group assigns as a whole.
        """
        if self._eager:
            self.assign({**others, **offsets})
            return
        self._consumer.incremental_unassign(_topic_partitions(offsets))
        self.assign(offsets)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these; the client discards what it has prefetched of them."""
        if paused := _topic_partitions(partitions):
            self._consumer.pause(paused)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""
        if resumed := _topic_partitions(partitions):
            self._consumer.resume(resumed)

    def commit(self, offsets: Mapping[Partition, CommittedOffset]) -> bool:
        """Send a commit; the listener is called with its result. False: it could not be sent."""
        commits = [
            TopicPartition(*partition, each.offset, metadata=each.metadata)
            for partition, each in offsets.items()
        ]
        try:
            self._consumer.commit(offsets=commits, asynchronous=True)
        except KafkaException as error:
            self.report(KafkaFault.of(error.args[0]), "commit")
            return False
        return True

    def commit_confirmed(
        self, offsets: Mapping[Partition, CommittedOffset], seconds: float
    ) -> bool:
        """Commit and return whether Kafka confirms it within `seconds`.

        The client's own synchronous commit has no timeout: it waits for an unavailable
        coordinator as long as a session lasts.
        """
        deadline = Deadline(self._clock, seconds)
        retry = Retry(COMMIT_CONFIRMATION_RETRY, self._clock)
        while offsets and not deadline.over():
            if self.commit(offsets) and self._stored(offsets, deadline):
                return True
            self._clock.wait(min(retry.failed(), deadline.left()))
        return not offsets

    def close(self, seconds: float) -> None:
        """Leave the group; where that takes longer, the session has to time out."""
        leaving = threading.Thread(target=self._consumer.close, daemon=True, name="kafka-close")
        leaving.start()
        leaving.join(seconds)
        if leaving.is_alive():
            log.warning(
                "The group was not left in time; its partitions wait for the session timeout.",
                code="group_not_left",
            )

    def report(self, fault: KafkaFault, where: str = "client") -> None:
        """Count an error, and log it unless it was logged lately."""
        self._callbacks.report(fault, where)

    def _stored(self, offsets: Mapping[Partition, CommittedOffset], deadline: Deadline) -> bool:
        try:
            found = self._consumer.committed(_topic_partitions(offsets), max(0.01, deadline.left()))
        except KafkaException:
            return False
        stored = {_partition(one): CommittedOffset(one.offset, one.metadata or "") for one in found}
        return all(
            stored[each].offset >= sent.offset and stored[each].metadata == sent.metadata
            for each, sent in offsets.items()
        )

    def _on_commit(self, error: KafkaError | None, committed: list[TopicPartition]) -> None:
        if self._listener is None:
            return
        stored = {
            _partition(one): CommittedOffset(one.offset, one.metadata or "")
            for one in committed
            if one.offset >= 0 and not one.error
        }
        failed = error or next((one.error for one in committed if one.error), None)
        self._listener.commit_completed(
            {} if error else stored, None if failed is None else KafkaFault.of(failed)
        )

    def _leave(
        self, left: list[TopicPartition], called: Callable[[Sequence[Partition]], None]
    ) -> None:
        try:
            called(_partitions(left))
        finally:
            if self._eager:
                self._consumer.unassign()
            else:
                self._consumer.incremental_unassign(left)


def _partition(raw: TopicPartition) -> Partition:
    return Partition(raw.topic, raw.partition)


def _partitions(raw: Iterable[TopicPartition]) -> list[Partition]:
    return [_partition(each) for each in raw]


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]
