"""The Kafka source: polls records, tracks their offsets and commits those that are settled.

One thread uses it. Everything that Kafka calls back runs inside `KafkaSource.poll`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.control import ControlStore, InMemoryControlStore
from processor.domain.errors import InvariantError, StopError
from processor.domain.record import AssignmentListener, Partition
from processor.kafka.admin import KafkaAdmin, TopicLayout
from processor.kafka.consumer import (
    CommittedOffset,
    KafkaConsumer,
    consumer_properties,
    is_eager,
)
from processor.kafka.messages import (
    ErrorKind,
    KafkaFault,
    PollError,
    poll_errors,
    records,
    runs_by_partition,
)
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.topics import Topics
from processor.settings import JoinSettings, KafkaSettings
from processor.source.group_records import GroupRecords
from processor.source.offsets import (
    NoOffsetCommitter,
    OffsetCommitter,
    PollTracker,
    partition_names,
    release_partitions,
)
from processor.source.partition_status import (
    Membership,
    PartitionGauges,
    PauseCauses,
    PlacementCheck,
)
from processor.source.start_offsets import StartOffsets
from processor.source.topic_guard import TopicGuard
from processor.source.topic_watch import is_recreated
from processor.source.waiting import (
    EventWait,
    KafkaPoll,
    PartitionRecords,
    ReadyRecords,
    WaitingScores,
)
from processor.telemetry.catalogue import REBALANCES
from processor.telemetry.labels import RebalanceKind, ReleaseCause, WaitResult
from processor.telemetry.metrics import Metrics

_WAITING_SCORES: Final = "waiting_scores"
"""The cause for which a partition is paused while too many of its scores wait."""
_LOST_OFFSET: Final = "lost_offset"
"""The cause for which a partition is paused until the loss of its offset is accepted."""
_NO_STATE: Final = "no_state"
"""The cause for which a partition is paused that person state was not made for."""
_REVOKE_COMMIT_SECONDS: Final = 3.0

log = structlog.get_logger()


class KafkaSource:
    """A member of the consumer group. `start` first, then `poll` at least every few seconds.

    With `join`, scores wait for experience events, and partitions of equal number are assigned to
    the same member. Without `committing` nothing is committed, whatever is settled. `written` are
    the topics that the processor writes; `control` is what the group remembers.
    """

    def __init__(  # noqa: PLR0913  the settings, and what outlives the group's offsets
        self,
        kafka: KafkaSettings,
        metrics: Metrics,
        clock: Clock,
        *,
        join: JoinSettings | None = None,
        control: ControlStore | None = None,
        written: Collection[str] = (),
        committing: bool = True,
    ) -> None:
        together = join is not None and join.enabled
        joined = join if together and kafka.events is not None else None
        self._kafka, self._metrics, self._clock = kafka, metrics, clock
        self._topics = Topics(kafka, joined.repartition_topic if joined else None)
        self._tracker = OffsetTracker()
        self._pauses = PauseCauses()
        self._paused: set[Partition] = set()
        eager = is_eager(kafka, together=together)
        properties = consumer_properties(kafka, together=together)
        self._consumer = KafkaConsumer(properties, metrics, clock, eager=eager)
        admin = KafkaAdmin(kafka, "offsets", clock)
        self._membership = Membership(kafka, self._consumer, admin, clock, eager=eager)
        self._layout = TopicLayout(admin, clock)
        records = GroupRecords(control or InMemoryControlStore(), clock)
        measured: dict[str, Any] = {"metrics": metrics, "clock": clock}
        changelog = join.changelog_topic if join and together and committing else None
        self._guard = TopicGuard(
            self._layout, self._topics, records, written=written, changelog=changelog, **measured
        )
        placement = PlacementCheck(kafka, self._layout, metrics, clock, guard=self._guard)
        self._polls = PollTracker(self._tracker, self._topics, placement, **measured)
        self._gauges = PartitionGauges(admin, metrics, clock)
        starts = (kafka, self._consumer, self._guard, records if committing else None)
        self._starts = StartOffsets(*starts, recognised=together, **measured)
        committer = OffsetCommitter(kafka, self._tracker, self._consumer, records, **measured)
        self._committer = committer if committing else NoOffsetCommitter()
        self._wait = self._event_wait(joined) if joined is not None else None
        self._listener: AssignmentListener | None = None
        self._closing = self._left = False

    @property
    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that are assigned now, but for those that must not be read."""
        return frozenset(set(self._tracker) - self.unread)

    @property
    def is_member(self) -> bool:
        """Return True while this is a member of the group, also one without partitions."""
        return self._membership.is_member

    @property
    def waiting_records(self) -> int:
        """Return how many score records wait for earlier events and were not returned yet."""
        return self._wait.waiting_records if self._wait else 0

    @property
    def commit_overdue_reason(self) -> str | None:
        """Return why sending must stop: settled records were not committed for too long."""
        return self._committer.overdue_reason

    @property
    def topic_fault_reason(self) -> str | None:
        """Return what is wrong with the topics; the partitions that are not concerned go on."""
        return self._guard.reason

    @property
    def unread(self) -> AbstractSet[Partition]:
        """Return the partitions of this member that must not be read, as there is no state."""
        return self._guard.unread(self._tracker)

    def accept_gaps(self, partitions: Iterable[Partition]) -> None:
        """Read on in partitions that a StopError named, from their oldest record."""
        self._starts.accept_gaps(partitions)

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic that is read; empty where it is unknown or there is none."""
        return self._guard.watch.id_of(topic)

    def committed_offset(self, partition: Partition) -> int | None:
        """Return the group's offset of a partition; None where it is unknown or lost."""
        offsets = self._tracker.partitions.get(partition)
        if offsets is None or not offsets.stamped or partition in self._starts.lost:
            return None
        now = self.topic_id(partition.topic)
        return None if is_recreated(offsets.topic_id, now) else offsets.committed

    def start(self, listener: AssignmentListener) -> None:
        """Join the group."""
        self._listener = listener
        self._consumer.subscribe(self._topics.subscription, self)

    def poll(self, seconds: float) -> KafkaPoll:
        """Return the next records, waiting at most `seconds`; none while paused.

        Raises StopError, before it reads anything, where an offset is lost and the settings do not
        say how to go on; InvariantError where the client is dead, and whatever a listener raised.
        """
        self._check_topics()
        messages = self._consumer.consume(self._kafka.poll_records, seconds)
        new = records(messages)
        tracked = [self._polls.track(run) for run in runs_by_partition(new)]
        if len(new) < len(messages):
            for error in poll_errors(messages):
                self._on_poll_error(error)
        # An error may have ended an epoch whose records were just tracked.
        current = [each for each in tracked if each and self._tracker.is_current(each.tracked)]
        ready = self._take_ready(current)
        self._gauges.refresh(self._tracker, self._pauses)
        self._membership.refresh()
        return KafkaPoll.of(ready)

    def settle(self, poll: KafkaPoll) -> frozenset[Partition]:
        """Mark a poll as settled; returns the partitions that are no longer assigned.

        Records of those were counted as released: they are not to be counted as settled.
        """
        now = self._clock.monotonic()
        return frozenset(
            tracked.partition for tracked in poll.tracked if not self._tracker.settle(tracked, now)
        )

    def commit(self, *, force: bool = False) -> None:
        """Commit the settled prefixes when it is time to; a later poll notes the result."""
        self._committer.send(force=force)

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Pause these partitions, or all, for a named cause; group membership stays alive."""
        self._pauses.pause(cause, partitions)
        self._apply_pauses()

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """End a named cause; a partition resumes when no cause is left."""
        self._pauses.resume(cause, partitions)
        self._apply_pauses()

    def close(self, seconds: float) -> bool:
        """Commit and leave the group, within `seconds` in any case.

        Returns whether Kafka confirmed the commit.
        """
        self._closing = True
        deadline = Deadline(self._clock, seconds)
        confirmed = self._committer.commit_confirmed(self._tracker, seconds / 2)
        self.leave(deadline.left())
        return confirmed

    def leave(self, seconds: float) -> None:
        """Leave the group without a commit; does nothing once it was left."""
        self._closing = True
        if not self._left:
            self._left = True
            self._release(list(self._tracker), ReleaseCause.SHUTDOWN)
            self._consumer.close(seconds)

    # Called by the consumer, inside `poll`.

    def partitions_assigned(self, partitions: Sequence[Partition]) -> None:
        """Begin an epoch of each partition and read on where the group has committed."""
        self._metrics.counter(REBALANCES, RebalanceKind.ASSIGNED).inc()
        self._membership.assigned()
        committed = self._starts.assign(partitions, self._tracker)
        unread = self._guard.unread(partitions)
        if unread:
            self._pauses.pause(_NO_STATE, unread)
        # librdkafka remembers a pause from an earlier assignment of the same partition.
        self._consumer.resume(set(partitions) - self._pauses.paused(self._tracker))
        self._apply_pauses()
        self._gauges.assigned(self._tracker)
        self._layout.forget()
        if self._wait is not None:
            self._wait.restart_progress()
        log.info(
            "Partitions were assigned.",
            code="partitions_assigned",
            partitions=partition_names(partitions),
            committed=[
                f"{name}@{committed[each].offset}"
                for name, each in zip(partition_names(committed), sorted(committed), strict=True)
            ],
            unread=partition_names(unread),
        )
        if self._listener is not None:
            self._listener.assigned([each for each in partitions if each not in unread])

    def partitions_revoked(self, partitions: Sequence[Partition]) -> None:
        """Let the listener settle what it can, commit that, and release the partitions."""
        if self._closing:
            return
        self._metrics.counter(REBALANCES, RebalanceKind.REVOKED).inc()
        try:
            if self._listener is not None:
                self._listener.drain(partitions)
        except StopError:
            self._commit_and_end(partitions)
            raise
        # After any other exception, a fault of the program, nothing more is committed.
        self._commit_and_end(partitions)

    def partitions_lost(self, partitions: Sequence[Partition]) -> None:
        """Release the partitions without a commit: another member may have read further."""
        self._metrics.counter(REBALANCES, RebalanceKind.LOST).inc()
        self._end_assignment(partitions, ReleaseCause.LOST)

    def commit_completed(
        self, stored: Mapping[Partition, CommittedOffset], fault: KafkaFault | None
    ) -> None:
        """Note the result of a commit."""
        self._committer.completed(stored, fault)

    def _event_wait(self, join: JoinSettings) -> EventWait:
        return EventWait(
            WaitingScores(join.max_wait_seconds, self._kafka.max_uncommitted_records),
            self._topics,
            self._layout,
            self._guard,
            metrics=self._metrics,
            clock=self._clock,
        )

    def _check_topics(self) -> None:
        """Compare the topics with what they were, and begin partitions without a valid offset."""
        if self._guard.watch.refresh(self._guard.watched(self._tracker)):
            self._guard.check()
            self._starts.check_ids(self._tracker)
        if self._starts.reset_invalid(self._tracker):
            self._paused.clear()
            if self._wait is not None:
                self._wait.restart()
        self._pauses.resume(_LOST_OFFSET)
        if self._starts.stopped:
            self._pauses.pause(_LOST_OFFSET, self._starts.stopped)
        self._apply_pauses()

    def _on_poll_error(self, error: PollError) -> None:
        partition, fault = error.partition, error.fault
        if fault.kind is ErrorKind.END_OF_PARTITION:
            self._polls.reached_end(partition, error.offset)
            return
        if fault.kind is ErrorKind.NO_VALID_OFFSET:
            self._starts.mark_invalid(partition, error.offset, truncated=fault.truncated)
            return
        self._consumer.report(fault, f"{partition.topic}/{partition.number}")
        if fault.fatal:
            raise InvariantError(f"The Kafka client failed permanently: {fault.error}")
        if fault.kind is ErrorKind.POLL_TOO_LATE:
            self._end_assignment(list(self._tracker), ReleaseCause.LOST)

    def _take_ready(self, polled: Sequence[PartitionRecords]) -> list[ReadyRecords]:
        if self._wait is None:
            return [ReadyRecords(each, WaitResult.NONE, 0.0) for each in polled]
        ready = self._wait.take_ready(
            polled,
            self._tracker,
            paused=bool(self._pauses.for_all),
            held=self._pauses.paused_by_others(_WAITING_SCORES),
            lost=self._starts.lost,
        )
        self._pauses.resume(_WAITING_SCORES)
        self._pauses.pause(_WAITING_SCORES, self._wait.full(self._tracker))
        self._apply_pauses()
        return ready

    def _apply_pauses(self) -> None:
        paused = self._pauses.paused(self._tracker)
        if paused != self._paused:
            self._consumer.pause(paused - self._paused)
            self._consumer.resume((self._paused - paused) & self._tracker.partitions.keys())
            self._paused = paused

    def _commit_and_end(self, partitions: Sequence[Partition]) -> None:
        self._committer.commit_confirmed(partitions, _REVOKE_COMMIT_SECONDS)
        self._end_assignment(partitions, ReleaseCause.REVOKED)

    def _end_assignment(self, partitions: Sequence[Partition], cause: ReleaseCause) -> None:
        self._membership.ended(cause)
        ended = [partition for partition in partitions if partition in self._tracker]
        self._release(ended, cause)
        if ended:
            log.info(
                "Partitions are no longer assigned.",
                code="partitions_unassigned",
                partitions=partition_names(ended),
                cause=cause,
            )
            if self._listener is not None:
                self._listener.revoked(ended)

    def _release(self, partitions: Sequence[Partition], cause: ReleaseCause) -> None:
        release_partitions(self._tracker, partitions, cause, metrics=self._metrics)
        if self._wait is not None:
            self._wait.forget(partitions)
        self._pauses.forget(partitions)
        self._paused -= set(partitions)
        self._gauges.revoked(partitions)
        self._gauges.assigned(self._tracker)
