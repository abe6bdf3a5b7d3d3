"""The source: one poll gives one batch and its claims; what is settled is committed, no more.

What one poll hands on, and who follows the assignment it comes from.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaError

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.domain.record import Partition, Record
from processor.kafka.consumer import KafkaConsumer, consumer_properties, is_eager
from processor.kafka.messages import ErrorKind, PollError, poll_errors, records, runs
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange
from processor.kafka.offsets import OffsetQueries
from processor.kafka.topics import Topics
from processor.settings import JoinSettings, KafkaSettings
from processor.source.group_offsets import NoOffsetCommitter, OffsetCommitter, OffsetReset
from processor.source.partition_status import PartitionGauges, PauseCauses
from processor.source.tracking import (
    PlacementCheck,
    PollTracker,
    partition_names,
    release_partitions,
)
from processor.source.waiting import (
    EventWait,
    PartitionRecords,
    ReadyRecords,
    WaitingScores,
    WaitResult,
)
from processor.telemetry.metrics import Metrics


class KafkaPoll(NamedTuple):
    """One poll: records in Kafka's order per partition, and the claims they are booked under.

    `timed_out` holds the places of score records whose wait for earlier events ran out.
    """

    records: Sequence[Record]
    claims: Sequence[TrackedRange]
    timed_out: frozenset[int] = frozenset()

    def without(self, partitions: AbstractSet[Partition]) -> "KafkaPoll":
        """Return the poll without what came from these partitions."""
        kept = [
            place
            for place, record in enumerate(self.records)
            if (record.topic, record.partition) not in partitions
        ]
        return KafkaPoll(
            [self.records[place] for place in kept],
            [claim for claim in self.claims if claim.partition not in partitions],
            frozenset(new for new, place in enumerate(kept) if place in self.timed_out),
        )


class AssignmentFollower(Protocol):
    """Who follows the assignment. All of it is called inside `Source.poll`, on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours from now on; nothing of them was polled yet."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle what is under way for these partitions, in bounded time: they are leaving."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours no more; what is unsettled of them was released."""
        ...


def kafka_poll(passed: Sequence[ReadyRecords]) -> KafkaPoll:
    """Join what passed, in order, into one poll."""
    together: list[Record] = []
    timed_out: set[int] = set()
    for share, result, _ in passed:
        if result is WaitResult.TIMEOUT:
            timed_out.update(range(len(together), len(together) + len(share.records)))
        together += share.records
    return KafkaPoll(together, [each.share.claim for each in passed], frozenset(timed_out))


_IN_STEP = "in_step"
_REVOKE_SECONDS = 3.0
"""For the commit when partitions leave."""

log = structlog.get_logger()


class KafkaSource:
    """The left door. One thread uses it; `start` first, then `poll` at least every few seconds.

    With `join`, scores keep in step with experience events, and partitions of equal number come to
    the same member. Without `committing` it leaves no trace in Kafka, whatever is settled.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        metrics: Metrics,
        clock: Clock,
        *,
        join: JoinSettings | None = None,
        committing: bool = True,
    ) -> None:
        together = join is not None and join.enabled
        joined = join if together and kafka.events is not None else None
        self._kafka = kafka
        self._metrics = metrics
        self._clock = clock
        self._topics = Topics(kafka, joined.repartition_topic if joined else None)
        self._ledger = OffsetTracker()
        self._pauses = PauseCauses()
        self._resting: set[Partition] = set()
        properties = consumer_properties(kafka, together=together)
        self._door = KafkaConsumer(
            properties, metrics, clock, eager=is_eager(kafka, together=together)
        )
        offsets = OffsetQueries(kafka, clock)
        self._misplaced = PlacementCheck(kafka, offsets, metrics, clock)
        self._booking = PollTracker(
            self._ledger, self._topics, self._misplaced, metrics=metrics, clock=clock
        )
        self._gauges = PartitionGauges(offsets, metrics, clock)
        self._places = OffsetReset(kafka, offsets, metrics)
        self._commits: OffsetCommitter | NoOffsetCommitter = NoOffsetCommitter()
        if committing:
            self._commits = OffsetCommitter(
                kafka, self._ledger, self._door, metrics=metrics, clock=clock
            )
        self._instep: EventWait | None = None
        if joined is not None:
            gate = WaitingScores(joined.max_wait_seconds, kafka.max_uncommitted_records)
            self._instep = EventWait(gate, self._topics, offsets, metrics=metrics, clock=clock)
        self._follower: AssignmentFollower | None = None
        self._closing = False

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        return frozenset(self._ledger)

    @property
    def unsettled(self) -> int:
        """Records that Kafka handed to us and that have no fate yet, those kept back included."""
        return self._ledger.unsettled

    @property
    def waiting_records(self) -> int:
        """Score records that wait for earlier experience events and were not handed out yet."""
        return self._instep.kept if self._instep else 0

    @property
    def commit_overdue(self) -> str | None:
        """Why sending must stop: settled work could not be committed for too long."""
        return self._commits.overdue

    def start(self, follower: AssignmentFollower) -> None:
        """Join the group."""
        self._follower = follower
        self._door.subscribe(self._topics.subscription, self)

    def poll(self, seconds: float) -> KafkaPoll:
        """Return what there is, waiting at most so long; nothing new while held.

        Raises StopError where records were lost before they were read and the settings say stop,
        InvariantError where the client is dead, and whatever a follower raised.
        """
        messages = self._door.consume(self._kafka.poll_records, seconds)
        polled_now = records(messages)
        booked = [self._booking.book(run) for run in runs(polled_now)]
        if len(polled_now) < len(messages):
            for trouble in poll_errors(messages):
                self._face(trouble)
        if self._places.find(self._ledger, self._door, self._clock):
            self._resting.clear()
            self._rest()
        # What went wrong may have ended an epoch whose records have just been booked.
        shares = [share for share in booked if share and self._ledger.live(share.claim)]
        passed = self._let_through(shares)
        self._gauges.refresh(self._ledger, self._pauses)
        return kafka_poll(passed)

    def settle(self, polled: KafkaPoll) -> frozenset[Partition]:
        """Mark a poll as settled; returns the partitions that were ours no more.

        Records of those were released, and counted so: they are not to be counted as settled.
        """
        now = self._clock.monotonic()
        return frozenset(
            claim.partition for claim in polled.claims if not self._ledger.settle(claim, now)
        )

    def commit(self, *, force: bool = False) -> None:
        """Commit the settled prefixes when it is time to; the answer comes with a later poll."""
        self._commits.send(force=force)

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Pause intake for a named cause, of these partitions or of all; membership lives on."""
        self._pauses.pause(cause, partitions)
        self._rest()

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """End a named cause; a partition goes on when none is left."""
        self._pauses.resume(cause, partitions)
        self._rest()

    def close(self, seconds: float) -> bool:
        """Commit and leave, in so many seconds whatever is dead; False: no word of the commit."""
        self._closing = True
        deadline = Deadline(self._clock, seconds)
        confirmed = self._commits.confirm(self._ledger, seconds / 2)
        self._drop(list(self._ledger), "shutdown")
        self._door.close(deadline.left())
        return confirmed

    # What the door tells, inside `poll`.

    def gained(self, partitions: Sequence[Partition]) -> None:
        """Begin an epoch for each and go on where the group left off."""
        self._metrics.counter("rebalances", "assigned").inc()
        committed = self._door.committed(partitions)
        for partition in partitions:
            self._ledger.assign(partition, committed.get(partition), self._clock.monotonic())
        self._door.take({partition: committed.get(partition) for partition in partitions})
        # The client remembers a pause from an earlier assignment, so both are said.
        self._door.resume(set(partitions) - self._pauses.paused(self._ledger))
        self._rest()
        self._gauges.assigned(self._ledger)
        self._misplaced.look_again()
        if self._instep is not None:
            self._instep.look_again()
        log.info("Partitions were assigned.", partitions=partition_names(partitions))
        if self._follower is not None:
            self._follower.assigned(partitions)

    def losing(self, partitions: Sequence[Partition]) -> None:
        """Let the follower settle what it can, commit that, and let go."""
        if self._closing:
            return
        self._metrics.counter("rebalances", "revoked").inc()
        try:
            if self._follower is not None:
                self._follower.drain(partitions)
        finally:
            self._commits.confirm(partitions, _REVOKE_SECONDS)
            self._let_go(partitions, "revoked")

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Let go without a commit: another member may be ahead of us."""
        self._metrics.counter("rebalances", "lost").inc()
        self._let_go(partitions, "lost")

    def acknowledged(self, offsets: Mapping[Partition, int], error: KafkaError | None) -> None:
        """Note how a commit ended."""
        self._commits.acknowledged(offsets, error)

    def _face(self, trouble: PollError) -> None:
        partition = trouble.partition
        if trouble.fault is ErrorKind.END:
            self._booking.ended(partition, trouble.offset)
            return
        if trouble.fault is ErrorKind.ASTRAY:
            self._places.lose(partition, trouble.offset)
            return
        self._door.report(trouble.error, f"{partition.topic}/{partition.number}")
        if trouble.fault is ErrorKind.FATAL:
            raise InvariantError(f"The Kafka client can not go on: {trouble.error.str()}")
        if trouble.fault is ErrorKind.EVICTED:
            self._let_go(list(self._ledger), "lost")

    def _let_through(self, shares: Sequence[PartitionRecords]) -> list[ReadyRecords]:
        if self._instep is None:
            return [ReadyRecords(share, WaitResult.NONE, 0.0) for share in shares]
        passed = self._instep.let_through(shares, self._ledger, held=bool(self._pauses.causes))
        self._pauses.resume(_IN_STEP)
        self._pauses.pause(_IN_STEP, self._instep.full(self._ledger))
        self._rest()
        return passed

    def _rest(self) -> None:
        resting = self._pauses.paused(self._ledger)
        if resting != self._resting:
            self._door.pause(resting - self._resting)
            self._door.resume((self._resting - resting) & self.assigned)
            self._resting = resting

    def _let_go(self, partitions: Sequence[Partition], cause: str) -> None:
        ours = [partition for partition in partitions if partition in self._ledger]
        self._drop(ours, cause)
        if ours:
            log.info("Partitions are ours no more.", partitions=partition_names(ours), cause=cause)
            if self._follower is not None:
                self._follower.revoked(ours)

    def _drop(self, partitions: Sequence[Partition], cause: str) -> None:
        release_partitions(self._ledger, partitions, cause, metrics=self._metrics)
        if self._instep is not None:
            self._instep.forget(partitions)
        self._pauses.forget(partitions)
        self._resting -= set(partitions)
        self._gauges.gone(partitions)
        self._gauges.assigned(self._ledger)
