"""Sends records to the embedded broker, no faster than they are read: it drops older records."""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from processor.domain.clock import Clock, Deadline, SystemClock
from processor.domain.errors import UnavailableError
from processor.domain.record import Partition
from processor.simulator.broker import RETAINED_BYTES
from processor.simulator.history.settings import InputRecord

_CHUNK = 500
_OVERHEAD_BYTES = 80
"""Maximum size of a record in a partition without its value."""
_LARGEST_RECORD = 16 << 20
_WAIT_SECONDS = 0.05
_TIMEOUT_SECONDS = 10.0

Progress = Callable[[int], None]


class Feed:
    """Sends records, at most `partition_bytes` a partition ahead of what `group_id` committed.

    The partition of a key is that of Java clients (murmur2). With `group_id` None it never waits.
    Raises `UnavailableError` if the broker refuses or drops records, or if the group commits
    nothing for `stall_seconds` while the feed waits for it. One thread sends; any thread may call
    `lag` and `stop`, and read `sent`.
    """

    def __init__(
        self,
        bootstrap: str,
        group_id: str | None = None,
        *,
        partition_bytes: int = RETAINED_BYTES // 2,
        stall_seconds: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self.sent: Counter[str] = Counter()
        """Records acknowledged by the broker, by topic."""
        self._partition_bytes = partition_bytes
        self._stall_seconds = stall_seconds
        self._clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._error = ""
        self._ahead: dict[Partition, deque[tuple[int, int]]] = defaultdict(deque)
        self._ahead_bytes: Counter[Partition] = Counter()
        self._unacknowledged_bytes = 0
        self._ends: dict[Partition, int] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "message.max.bytes": _LARGEST_RECORD,
                "queue.buffering.max.kbytes": 64 << 10,
            }
        )
        self._reader = _reader(bootstrap, group_id) if group_id else None

    def send(self, records: Iterable[InputRecord], progress: Progress | None = None) -> int:
        """Send all records and return how many were acknowledged; `progress` gets the total so far.

        Returns early, with fewer, after `stop`. Records carry Kafka's own time, not theirs.
        """
        remaining, before = iter(records), self.sent.total()
        while chunk := list(islice(remaining, _CHUNK)):
            if self._stopped.is_set():
                break
            for record in chunk:
                self._produce(record)
            self._wait_for_group()
            if progress:
                progress(self.sent.total() - before)
        self.flush()
        return self.sent.total() - before

    def flush(self) -> None:
        """Wait until everything produced is acknowledged."""
        deadline = Deadline(self._clock, self._stall_seconds)
        while self._producer.flush(_WAIT_SECONDS) and not deadline.over():
            self._check()
        self._check()
        if len(self._producer):
            raise UnavailableError("feed", f"{len(self._producer)} records are not acknowledged")

    def lag(self) -> int:
        """Return how many records of this feed the group has not committed."""
        committed = self._committed()
        ends = self._ends.copy()
        return sum(end - committed.get(partition, 0) for partition, end in ends.items())

    @property
    def stopped(self) -> bool:
        """Return whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Make `send` return after the current chunk; may be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Drop what is not acknowledged and close the connections."""
        self._stopped.set()
        self._producer.purge()
        self._producer.flush(_WAIT_SECONDS)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _produce(self, record: InputRecord) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(_WAIT_SECONDS)
                self._check()
            else:
                self._unacknowledged_bytes += _size(record.value)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        size = _size(message.value())
        self._unacknowledged_bytes -= size
        if error is not None:
            self._error = self._error or f"{message.topic()}: {error.str()}"
            return
        partition = Partition(message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        self.sent[partition.topic] += 1
        self._ends[partition] = offset + 1
        if self._reader is not None:
            self._ahead[partition].append((offset, size))
            self._ahead_bytes[partition] += size

    def _wait_for_group(self) -> None:
        self._producer.poll(0)
        self._check()
        if self._reader is None or not self._too_far():
            return
        self.flush()  # the partition of a record is only known from its acknowledgement
        deadline = Deadline(self._clock, self._stall_seconds)
        while self._too_far() and not self._stopped.is_set():
            if self._drop_committed():
                deadline = Deadline(self._clock, self._stall_seconds)
            elif deadline.over():
                waited = f"nothing was committed for {self._stall_seconds:.0f} s"
                raise UnavailableError("feed", waited)
            self._stopped.wait(_WAIT_SECONDS)

    def _too_far(self) -> bool:
        most = max(self._ahead_bytes.values(), default=0)
        return most + self._unacknowledged_bytes > self._partition_bytes

    def _drop_committed(self) -> bool:
        """Stop counting what the group has committed; return whether there was any."""
        moved = False
        for partition, next_offset in self._committed().items():
            ahead = self._ahead[partition]
            while ahead and ahead[0][0] < next_offset:
                self._ahead_bytes[partition] -= ahead.popleft()[1]
                moved = True
            self._check_retention(partition, next_offset)
        return moved

    def _committed(self) -> dict[Partition, int]:
        reader = self._reader
        if reader is None:
            return {}
        partitions = [TopicPartition(topic, number) for topic, number in self._ends.copy()]
        if not partitions:
            return {}
        try:
            found = reader.committed(partitions, timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise UnavailableError("feed", str(error)) from error
        return {
            Partition(each.topic, each.partition): 0
            if each.offset == OFFSET_INVALID
            else each.offset
            for each in found
        }

    def _check_retention(self, partition: Partition, next_offset: int) -> None:
        if self._reader is None:
            return
        watermarks = self._reader.get_watermark_offsets(
            TopicPartition(partition.topic, partition.number), timeout=_TIMEOUT_SECONDS
        )
        if watermarks[0] > next_offset:
            count = watermarks[0] - next_offset
            lost = f"{partition.topic}/{partition.number} dropped {count} records"
            raise UnavailableError("feed", f"{lost} before they were read")

    def _check(self) -> None:
        if self._error:
            raise UnavailableError("feed", self._error)


def _size(value: bytes | None) -> int:
    return len(value or b"") + _OVERHEAD_BYTES


def _reader(bootstrap: str, group_id: str) -> Consumer:
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group_id, "enable.auto.commit": False}
    )
