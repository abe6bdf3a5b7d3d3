"""Records into Kafka, no faster than they are read: the embedded broker forgets what piles up."""

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
from processor.simulator.history.sent import Sent

_CHUNK = 500
_OVERHEAD_BYTES = 80
"""What a record takes in a partition beside its value, at most."""
_LARGEST_RECORD = 16 << 20
_WAIT_SECONDS = 0.05
_TIMEOUT_SECONDS = 10.0

Progress = Callable[[int], None]


class Feed:
    """Sends records, at most `partition_bytes` a partition ahead of what `group_id` committed.

    Keys choose partitions as Java clients do (murmur2). With `group_id` None nothing holds it back.
    Raises `UnavailableError` when the broker refuses or forgets records, or when the group commits
    nothing for `stall_seconds` while the feed waits for it. One thread sends; any may ask for `lag`
    and `sent`, and `stop` it.
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
        self._problem = ""
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

    def send(self, records: Iterable[Sent], progress: Progress | None = None) -> int:
        """Send all records and return how many were acknowledged; `progress` gets the total so far.

        Returns early, with fewer, after `stop`. Records carry Kafka's own time, not theirs.
        """
        rest, before = iter(records), self.sent.total()
        while chunk := list(islice(rest, _CHUNK)):
            if self._stopped.is_set():
                break
            for record in chunk:
                self._produce(record)
            self._hold_back()
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
        """Let `send` return after the chunk under way; may be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Give up what is not acknowledged and let go of the connections."""
        self._stopped.set()
        self._producer.purge()
        self._producer.flush(_WAIT_SECONDS)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _produce(self, record: Sent) -> None:
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
            self._problem = self._problem or f"{message.topic()}: {error.str()}"
            return
        partition = Partition(message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        self.sent[partition.topic] += 1
        self._ends[partition] = offset + 1
        if self._reader is not None:
            self._ahead[partition].append((offset, size))
            self._ahead_bytes[partition] += size

    def _hold_back(self) -> None:
        self._producer.poll(0)
        self._check()
        if self._reader is None or not self._too_far():
            return
        self.flush()  # only an acknowledgement says which partition a record is in
        deadline = Deadline(self._clock, self._stall_seconds)
        while self._too_far() and not self._stopped.is_set():
            if self._settle():
                deadline = Deadline(self._clock, self._stall_seconds)
            elif deadline.over():
                waited = f"nothing was committed for {self._stall_seconds:.0f} s"
                raise UnavailableError("feed", waited)
            self._stopped.wait(_WAIT_SECONDS)

    def _too_far(self) -> bool:
        most = max(self._ahead_bytes.values(), default=0)
        return most + self._unacknowledged_bytes > self._partition_bytes

    def _settle(self) -> bool:
        """Forget what the group has committed; return whether that was anything."""
        moved = False
        for partition, next_offset in self._committed().items():
            ahead = self._ahead[partition]
            while ahead and ahead[0][0] < next_offset:
                self._ahead_bytes[partition] -= ahead.popleft()[1]
                moved = True
            self._watch_retention(partition, next_offset)
        return moved

    def _committed(self) -> dict[Partition, int]:
        reader = self._reader
        if reader is None:
            return {}
        asked = [TopicPartition(topic, number) for topic, number in self._ends.copy()]
        if not asked:
            return {}
        try:
            marks = reader.committed(asked, timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise UnavailableError("feed", str(error)) from error
        return {
            Partition(mark.topic, mark.partition): 0
            if mark.offset == OFFSET_INVALID
            else mark.offset
            for mark in marks
        }

    def _watch_retention(self, partition: Partition, next_offset: int) -> None:
        if self._reader is None:
            return
        place = TopicPartition(partition.topic, partition.number)
        marks = self._reader.get_watermark_offsets(place, timeout=_TIMEOUT_SECONDS)
        if marks[0] > next_offset:
            lost = f"{partition.topic}/{partition.number} forgot {marks[0] - next_offset} records"
            raise UnavailableError("feed", f"{lost} before they were read")

    def _check(self) -> None:
        if self._problem:
            raise UnavailableError("feed", self._problem)


def _size(value: bytes | None) -> int:
    return len(value or b"") + _OVERHEAD_BYTES


def _reader(bootstrap: str, group_id: str) -> Consumer:
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group_id, "enable.auto.commit": False}
    )
