"""Tracks per partition which polled records are settled: only the contiguous prefix is committed.

Polled records are tracked as ranges, one for each partition of a poll. A range is settled as a
whole, in any order; the offset to commit moves over the settled ranges that follow each other.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from processor.domain.errors import InvariantError
from processor.domain.record import Partition


class TrackedRange(msgspec.Struct, frozen=True, gc=False):
    """The records of one partition in one poll. `end` is the offset after the last record.

    `count` can be less than `end - first`: compacted topics and control records leave gaps.
    """

    partition: Partition
    epoch: int
    serial: int
    first: int
    end: int
    count: int
    newest_ms: int


class Stamp(NamedTuple):
    """What a commit belongs to: an assignment of a partition, and the id of its topic."""

    epoch: int
    topic_id: str


class PartitionOffsets:
    """The offsets of one partition in one assignment; only the `OffsetTracker` changes them.

    `next_read` is the next offset to read, `next_commit` the next one to commit, `committed` the
    one that Kafka has stored; None where unknown. `commit_due_since` is since when settled
    records wait for their commit, in monotonic seconds. `topic_id` is that of the topic to which
    the offsets belong, empty where unknown; `stamped` is whether Kafka has it with the commit.
    """

    __slots__ = (
        "commit_due_since",
        "committed",
        "committed_at",
        "epoch",
        "next_commit",
        "next_read",
        "settled_serials",
        "settled_until_ms",
        "stamped",
        "topic_id",
        "unsettled",
        "unsettled_records",
    )

    def __init__(self, epoch: int, committed: int | None, now: float, topic_id: str) -> None:
        self.epoch = epoch
        self.topic_id = topic_id
        self.stamped = True
        self.committed = self.next_commit = self.next_read = committed
        self.committed_at = now
        self.unsettled: deque[TrackedRange] = deque()
        self.settled_serials: set[int] = set()
        self.settled_until_ms = 0
        self.unsettled_records = 0
        self.commit_due_since: float | None = None

    @property
    def commit_due(self) -> bool:
        """Return True while there is a settled prefix that Kafka has not confirmed."""
        return self.next_commit is not None and (
            self.next_commit != self.committed or not self.stamped
        )

    def commit_trailing_gap(self) -> None:
        """With nothing unsettled, commit up to `next_read`: control records have no poll."""
        if not self.unsettled and self.next_commit is not None:
            self.next_commit = max(self.next_commit, self.next_read or 0)


class OffsetTracker:
    """The offsets of the partitions that are assigned now.

    `now` is monotonic seconds throughout. An epoch is one assignment of one partition: what is
    settled after its epoch has ended is ignored, because another member reads those records again.
    """

    def __init__(self) -> None:
        self.partitions: dict[Partition, PartitionOffsets] = {}
        self._epochs = 0
        self._serials = 0

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions)

    def __contains__(self, partition: Partition) -> bool:
        return partition in self.partitions

    @property
    def unsettled_records(self) -> int:
        """Return how many records are tracked and neither settled nor released."""
        return sum(offsets.unsettled_records for offsets in self.partitions.values())

    def assign(
        self, partition: Partition, committed: int | None, now: float, topic_id: str = ""
    ) -> None:
        """Begin an epoch; `committed` is the group's offset where it is known."""
        self._epochs += 1
        self.partitions[partition] = PartitionOffsets(self._epochs, committed, now, topic_id)

    def stamp(self, partition: Partition, topic_id: str) -> None:
        """Set the id of the topic to which the offsets belong; the next commit has it."""
        offsets = self.partitions[partition]
        offsets.topic_id, offsets.stamped = topic_id, False

    def release(self, partition: Partition) -> int:
        """End an epoch and return how many records of it were never settled."""
        offsets = self.partitions.pop(partition, None)
        return offsets.unsettled_records if offsets else 0

    def reset(
        self, partition: Partition, offset: int, now: float, *, replaced: bool = False
    ) -> int:
        """Continue reading at `offset`; return how many unsettled records that released.

        Where the partition was replaced, as a lower offset shows too, a new epoch begins.
        """
        offsets = self.partitions[partition]
        if replaced or (offsets.next_read is not None and offset < offsets.next_read):
            topic_id = offsets.topic_id
            released = self.release(partition)
            self.assign(partition, None, now, topic_id)
            return released + self.reset(partition, offset, now)
        offsets.next_read = offset
        if not offsets.unsettled:
            offsets.next_commit = offset
            offsets.commit_due_since = now
        return 0

    def advance(self, partition: Partition, offset: int) -> int:
        """Note that everything below `offset` was read; return how many offsets were skipped."""
        offsets = self.partitions[partition]
        expected = offset if offsets.next_read is None else offsets.next_read
        offsets.next_read = max(expected, offset)
        offsets.commit_trailing_gap()
        return max(0, offset - expected)

    def track(
        self, partition: Partition, offsets: range, count: int, newest_ms: int
    ) -> TrackedRange:
        """Track `count` records polled within `offsets`; the partition must be assigned."""
        known = self.partitions[partition]
        self._serials += 1
        tracked = TrackedRange(
            partition, known.epoch, self._serials, offsets.start, offsets.stop, count, newest_ms
        )
        known.unsettled.append(tracked)
        known.unsettled_records += count
        known.next_read = max(offsets.stop, known.next_read or 0)
        if known.next_commit is None:
            known.next_commit = known.committed = offsets.start
        return tracked

    def caught_up(self, partition: Partition, end: int, at_ms: int) -> None:
        """Note that the partition ended at `end` at this time.

        Where everything below is settled, the partition is settled up to this time.
        """
        offsets = self.partitions[partition]
        if not offsets.unsettled and (offsets.next_read or 0) >= end:
            offsets.settled_until_ms = max(at_ms, offsets.settled_until_ms)

    def read_offsets(self) -> dict[Partition, int]:
        """Return the next offset to read of each partition, where it is known."""
        return {
            partition: offsets.next_read
            for partition, offsets in self.partitions.items()
            if offsets.next_read is not None
        }

    def settled_offsets(self) -> dict[Partition, int]:
        """Return the offset up to which each partition is settled, where it is known."""
        return {
            partition: offsets.next_commit
            for partition, offsets in self.partitions.items()
            if offsets.next_commit is not None
        }

    def is_current(self, tracked: TrackedRange) -> bool:
        """Return True while the epoch of a range lasts."""
        offsets = self.partitions.get(tracked.partition)
        return offsets is not None and offsets.epoch == tracked.epoch

    def settle(self, tracked: TrackedRange, now: float) -> bool:
        """Settle a range once; False where its epoch has ended, and then nothing is changed."""
        if not self.is_current(tracked):
            return False
        offsets = self.partitions[tracked.partition]
        first_unsettled = offsets.unsettled[0].serial
        if tracked.serial in offsets.settled_serials or tracked.serial < first_unsettled:
            raise InvariantError(f"A range of {tracked.partition} was settled twice.")
        offsets.settled_serials.add(tracked.serial)
        offsets.unsettled_records -= tracked.count
        while offsets.unsettled and offsets.unsettled[0].serial in offsets.settled_serials:
            self._extend_prefix(offsets, offsets.unsettled.popleft(), now)
        offsets.commit_trailing_gap()
        return True

    def pending_commits(self) -> dict[Partition, int]:
        """Return the next offset to commit of each partition whose prefix has grown."""
        return {
            partition: offsets.next_commit
            for partition, offsets in self.partitions.items()
            if offsets.next_commit is not None and offsets.commit_due
        }

    def idle_commits(self, before: float) -> dict[Partition, int]:
        """Return committed offsets last confirmed `before`, which Kafka would let expire."""
        return {
            partition: offsets.committed
            for partition, offsets in self.partitions.items()
            if offsets.committed is not None and offsets.committed_at < before
        }

    def stamps(self, partitions: Iterable[Partition]) -> dict[Partition, Stamp]:
        """Return what a commit of these partitions belongs to now."""
        return {
            partition: Stamp(offsets.epoch, offsets.topic_id)
            for partition in partitions
            if (offsets := self.partitions.get(partition)) is not None
        }

    def acknowledge(
        self, partition: Partition, offset: int, sent: float, stamp: Stamp | None = None
    ) -> None:
        """Note that Kafka stored `offset`, by a commit that was sent at `sent` with this stamp."""
        offsets = self.partitions.get(partition)
        if offsets is None or offsets.next_commit is None or offset > offsets.next_commit:
            return  # the result of a commit of an earlier epoch
        if stamp is not None and stamp.epoch != offsets.epoch:
            return
        offsets.committed = max(offset, offsets.committed or 0)
        offsets.committed_at = sent
        offsets.stamped = stamp is None or stamp.topic_id == offsets.topic_id
        offsets.commit_due_since = (
            max(sent, offsets.commit_due_since or sent) if offsets.commit_due else None
        )

    def commit_due_before(self, before: float) -> bool:
        """Return True where settled records have waited for their commit since `before`."""
        return any(
            offsets.commit_due_since is not None and offsets.commit_due_since < before
            for offsets in self.partitions.values()
        )

    def _extend_prefix(self, offsets: PartitionOffsets, tracked: TrackedRange, now: float) -> None:
        offsets.settled_serials.discard(tracked.serial)
        offsets.next_commit = max(tracked.end, offsets.next_commit or 0)
        offsets.settled_until_ms = max(tracked.newest_ms, offsets.settled_until_ms)
        if offsets.commit_due_since is None:
            offsets.commit_due_since = now
