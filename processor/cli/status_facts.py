"""What Kafka knows of a consumer group, whether or not a replica of it lives."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.domain.record import Partition
from processor.kafka.admin import KafkaAdmin
from processor.kafka.topic_reader import TopicReader
from processor.kafka.topics import Topics
from processor.settings import Settings

_QUERY_SECONDS: Final = 10.0


class Progress(StrEnum):
    """How a partition advances: `slow` where commits move while the lag grows."""

    CAUGHT_UP = "caught_up"
    PROGRESSING = "progressing"
    SLOW = "slow"
    STUCK = "stuck"
    UNKNOWN = "unknown"


class Offsets(NamedTuple):
    """Oldest offset, end and committed offset of a partition; None where Kafka does not say.

    A partition without a commit has `committed` None.
    """

    start: int | None
    end: int | None
    committed: int | None

    @property
    def next(self) -> int | None:
        """Return the oldest offset that is not committed and still in Kafka."""
        if self.start is None or self.committed is None:
            return self.start
        return max(self.start, self.committed)

    @property
    def lag(self) -> int | None:
        """Return how many records are not committed."""
        if self.end is None or self.next is None:
            return None
        return max(0, self.end - self.next)

    @property
    def lost(self) -> int:
        """Return how many records Kafka deleted before they were committed."""
        if self.start is None or self.committed is None:
            return 0
        return max(0, self.start - self.committed)


class PartitionStatus(NamedTuple):
    """One partition, of two looks at its offsets.

    `lag_seconds` is the age of the oldest record that is not committed, `eta_seconds` the time to
    work off the lag at the speed seen, `headroom_records` how many records Kafka can delete before
    one is lost, `headroom_seconds` the same as time by `retention.ms`. None is unknown.
    """

    topic: str
    partition: int
    progress: Progress
    lag: int | None
    committed: int | None
    lag_seconds: float | None
    eta_seconds: float | None
    headroom_records: int | None
    headroom_seconds: float | None
    lost: int


def judge(first: Offsets, second: Offsets) -> Progress:
    """Return how a partition advanced from one look to the next.

    It is stuck where records that were not committed at the first look are still not at the second.
    """
    if first.lag is None or second.lag is None:
        return Progress.UNKNOWN
    if second.lag == 0:
        return Progress.CAUGHT_UP
    moved = (second.committed or 0) > (first.committed or 0)
    if not moved:
        return Progress.STUCK if first.lag else Progress.PROGRESSING
    return Progress.SLOW if second.lag > first.lag else Progress.PROGRESSING


def eta(first: Offsets, second: Offsets, seconds: float) -> float | None:
    """Return the seconds until the lag is worked off; None where it does not shrink."""
    if second.lag == 0:
        return 0.0
    if first.lag is None or second.lag is None or first.lag <= second.lag:
        return None
    return second.lag * seconds / (first.lag - second.lag)


class GroupReader:
    """Reads the facts of one group; raises UnavailableError where no broker answers."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._kafka = settings.kafka
        self._clock = clock
        self._admin = KafkaAdmin(settings.kafka, "status", clock)
        topics = Topics(settings.kafka, settings.join.repartition_topic)
        cluster = self._admin.cluster()
        self._has_controller = cluster.has_controller
        self._places = topics.partitions(cluster.layout)

    def members(self) -> int | None:
        """Return how many members the group has; None where Kafka does not say."""
        return self._admin.member_count(_QUERY_SECONDS)

    def partitions(self, seconds: float) -> list[PartitionStatus]:
        """Look twice, so many seconds apart, and return all input partitions."""
        first = self._offsets()
        self._clock.wait(seconds)
        second = self._offsets()
        ages = self._ages(second)
        retention = {topic: self._retention(topic) for topic in {at.topic for at in second}}
        return [
            _status(at, (first[at], second[at]), seconds, ages.get(at), retention[at.topic])
            for at in self._places
        ]

    def _offsets(self) -> dict[Partition, Offsets]:
        committed = self._admin.committed(self._places)
        starts, ends = self._admin.starts(self._places), self._admin.ends(self._places)
        answered = [query.wait(_QUERY_SECONDS) for query in (committed, starts, ends)]
        if not all(answered) or committed.failed():
            raise UnavailableError("kafka", "the offsets of the group cannot be read")
        oldest, newest, done = starts.offsets(), ends.offsets(), committed.offsets()
        return {at: Offsets(oldest.get(at), newest.get(at), done.get(at)) for at in self._places}

    def _ages(self, offsets: Mapping[Partition, Offsets]) -> dict[Partition, float]:
        behind = {at: each.next for at, each in offsets.items() if each.lag}
        ages: dict[Partition, float] = {}
        for topic in sorted({at.topic for at in behind}):
            wanted = {at: offset for at, offset in behind.items() if at.topic == topic}
            ages |= self._ages_in(topic, wanted.items())
        return ages

    def _ages_in(
        self, topic: str, wanted: Iterable[tuple[Partition, int | None]]
    ) -> dict[Partition, float]:
        reader, ages = TopicReader(self._kafka, topic, part="status", clock=self._clock), {}
        try:
            for at, offset in wanted:
                record = None if offset is None else reader.record_at(at.number, offset)
                if record is not None:
                    ages[at] = max(0.0, (self._clock.now_ms() - record.timestamp_ms) / 1000)
        finally:
            reader.close()
        return ages

    def _retention(self, topic: str) -> float | None:
        """Return `retention.ms` in seconds; None where nothing is deleted or Kafka is silent."""
        if not self._has_controller:
            return None
        query = self._admin.query_config(topic)
        try:
            ms = int(query.config().get("retention.ms", -1)) if query.wait() else -1
        except UnavailableError:
            return None
        return ms / 1000 if ms >= 0 else None


def _status(
    at: Partition,
    looks: tuple[Offsets, Offsets],
    seconds: float,
    age: float | None,
    retention: float | None,
) -> PartitionStatus:
    now = looks[1]
    room = None
    if now.lag and now.next is not None and now.start is not None:
        room = now.next - now.start
    return PartitionStatus(
        at.topic,
        at.number,
        judge(*looks),
        now.lag,
        now.committed,
        0.0 if now.lag == 0 else age,
        eta(*looks, seconds),
        room,
        None if age is None or retention is None else retention - age,
        now.lost,
    )
