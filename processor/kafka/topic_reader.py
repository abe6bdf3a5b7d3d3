"""One topic, read without a group: partitions from an offset to their end, in slices.

Used to restore the changelog, to read dead letters, and to look at single records. Nothing is
committed, and no read waits without end.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.domain.record import Record
from processor.kafka.consumer import SAFE_PROPERTIES, ClientCallbacks
from processor.kafka.messages import ErrorKind, KafkaFault, PollError, poll_errors, records
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.labels import Callback
from processor.telemetry.log_limiter import client_logger
from processor.telemetry.metrics import Metrics

_SLICE_RECORDS: Final = 5_000
_SCAN_RECORDS: Final = 1_000
_SCAN_STEP_SECONDS: Final = 0.5
_QUERY_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0


class PartitionSlice(msgspec.Struct):
    """What was read of one partition: keys and values (None: a tombstone), in order.

    `next_offset` is where the next slice begins, None where nothing was read. `ended` is True at
    the end of the partition, `out_of_range` where the partition does not have the offset asked for.
    """

    records: list[tuple[bytes, bytes | None]] = []
    next_offset: int | None = None
    ended: bool = False
    out_of_range: bool = False


class PartitionReader(Protocol):
    """Reads slices of partitions; `TopicReader` is one."""

    unavailable_reason: str | None
    """Why nothing is read; None while it is."""

    def begin(self, partition: int, offset: int | None) -> None:
        """Read a partition from an offset on, or from its beginning."""
        ...

    def end(self, partition: int) -> None:
        """Stop reading a partition; does nothing for one that is not read."""
        ...

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        """Return the next slices, waiting at most `seconds`."""
        ...

    def remaining(self, partition: int, offset: int) -> int:
        """Return how many offsets are left from an offset on, as far as is known."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class TopicReader:
    """A consumer of one topic that is no member of a group.

    `part` names the topic in errors, and is part of the client id.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        part: str,
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> None:
        self.unavailable_reason: str | None = None
        self._topic = topic
        self._part = part
        self._clock = clock
        self._reading: set[int] = set()
        self._callbacks = ClientCallbacks(metrics or Metrics(), clock)
        client_id = f"{kafka.group_id}-{part.replace(' ', '-')}"
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": 65_536,
                "fetch.wait.max.ms": 50,
                **connection(kafka.bootstrap_servers, client_id, kafka.client),
                "group.id": client_id,  # librdkafka requires one; it is never joined
                **SAFE_PROPERTIES,
                "error_cb": self._callbacks.guarded(Callback.ERROR, self._on_error),
            },
            logger=client_logger(f"{part} reader", clock),
        )

    def begin(self, partition: int, offset: int | None) -> None:
        """Read a partition from an offset on, or from its beginning."""
        self.end(partition)
        start = OFFSET_BEGINNING if offset is None else offset
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, start)])
        self._reading.add(partition)

    def end(self, partition: int) -> None:
        """Stop reading a partition; does nothing for one that is not read."""
        if partition in self._reading:
            self._reading.remove(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        """Return the next slices, waiting at most `seconds`.

        An error that the client retries is in `unavailable_reason` until something is read.
        """
        slices: dict[int, PartitionSlice] = {}
        for message in self._consumer.consume(_SLICE_RECORDS, seconds):
            partition = message.partition()
            if message.error() is not None:
                self._add_error(slices, *poll_errors([message]))
            elif partition in self._reading:
                piece = slices.setdefault(partition, PartitionSlice())
                piece.next_offset = (message.offset() or 0) + 1
                if key := message.key():
                    piece.records.append((key, message.value()))
                self.unavailable_reason = None
        return slices

    def remaining(self, partition: int, offset: int) -> int:
        """Return how many offsets are left from an offset on, as far as is known."""
        asked = TopicPartition(self._topic, partition)
        try:
            end = self._consumer.get_watermark_offsets(asked, cached=True)[1]
        except KafkaException:
            return 0
        return max(0, end - offset)

    def ranges(self, seconds: float = _QUERY_SECONDS) -> dict[int, range]:
        """Return the offsets that each partition has now.

        Raises UnavailableError where the topic does not exist or the broker does not answer.
        """
        try:
            topic = self._consumer.list_topics(self._topic, timeout=seconds).topics[self._topic]
            if topic.error is not None:
                raise UnavailableError(self._part, f"{self._topic}: {topic.error.str()}")
            return {number: self._range(number, seconds) for number in topic.partitions}
        except KafkaException as error:
            raise UnavailableError(self._part, error.args[0].str()) from error

    def scan(
        self, ranges: Mapping[int, range], idle_seconds: float = _IDLE_SECONDS
    ) -> Iterator[tuple[list[Record], int]]:
        """Yield the records within ranges of offsets, in order per partition, a slice at a time.

        With each slice comes how many offsets are left; a slice can be empty. Raises
        UnavailableError on a permanent error, or where nothing arrives for `idle_seconds`.
        """
        left = {partition: offsets for partition, offsets in ranges.items() if offsets}
        for partition, offsets in left.items():
            self.begin(partition, offsets.start)
        idle = Deadline(self._clock, idle_seconds)
        while left:
            messages = self._consumer.consume(_SCAN_RECORDS, _SCAN_STEP_SECONDS)
            if messages:
                idle = Deadline(self._clock, idle_seconds)
            elif idle.over():
                reason = self.unavailable_reason or "Kafka does not answer"
                raise UnavailableError(self._part, reason)
            found = records(messages)
            wanted = [each for each in found if each.offset in left.get(each.partition, ())]
            for record in found:
                if record.partition in left:
                    stop = left[record.partition].stop
                    left[record.partition] = range(record.offset + 1, stop)
            for error in poll_errors(messages):
                self._scan_error(left, error)
            left = self._unfinished(left)
            yield wanted, sum(map(len, left.values()))

    def record_at(self, partition: int, offset: int) -> Record | None:
        """Return the record at an offset, None where there is none.

        Raises UnavailableError where the broker does not answer.
        """
        try:
            existing = self._range(partition, _QUERY_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  a public constant
                return None
            raise UnavailableError(self._part, error.args[0].str()) from error
        if offset not in existing:
            return None
        wanted = {partition: range(offset, offset + 1)}
        return next((found[0] for found, _ in self.scan(wanted, _QUERY_SECONDS) if found), None)

    def close(self) -> None:
        """Stop reading."""
        self._reading.clear()
        self._consumer.close()

    def _range(self, partition: int, seconds: float) -> range:
        asked = TopicPartition(self._topic, partition)
        return range(*self._consumer.get_watermark_offsets(asked, timeout=seconds))

    def _add_error(self, slices: dict[int, PartitionSlice], error: PollError) -> None:
        partition, kind = error.partition.number, error.fault.kind
        if kind not in {ErrorKind.END_OF_PARTITION, ErrorKind.NO_VALID_OFFSET}:
            self.unavailable_reason = f"{self._part}: {error.fault.error}"
        elif partition in self._reading:
            piece = slices.setdefault(partition, PartitionSlice())
            piece.out_of_range = kind is ErrorKind.NO_VALID_OFFSET
            if kind is ErrorKind.END_OF_PARTITION:
                piece.next_offset, piece.ended = error.offset or 0, True
            self.unavailable_reason = None

    def _unfinished(self, left: dict[int, range]) -> dict[int, range]:
        for partition in [number for number, offsets in left.items() if not offsets]:
            self.end(partition)
        return {number: offsets for number, offsets in left.items() if offsets}

    def _scan_error(self, left: dict[int, range], error: PollError) -> None:
        partition, fault = error.partition.number, error.fault
        if fault.kind is ErrorKind.END_OF_PARTITION:
            left.pop(partition, None)
            self.end(partition)  # the range ends in control or compacted records
        elif fault.kind is ErrorKind.NO_VALID_OFFSET:
            self.begin(partition, None)  # the oldest records were deleted meanwhile
        elif fault.fatal or not fault.retriable:
            raise UnavailableError(self._part, fault.error)

    def _on_error(self, error: KafkaError) -> None:
        fault = KafkaFault.of(error)
        self.unavailable_reason = f"{self._part}: {fault.error}"
        self._callbacks.report(fault, self._part)


def fetch_record(
    kafka: KafkaSettings, topic: str, partition: int, offset: int, *, clock: Clock
) -> Record | None:
    """Return the record at an offset of a topic, None where there is none.

    Raises UnavailableError in an outage.
    """
    reader = TopicReader(kafka, topic, part="records", clock=clock)
    try:
        return reader.record_at(partition, offset)
    finally:
        reader.close()
