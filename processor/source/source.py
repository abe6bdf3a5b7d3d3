"""The source: one poll gives one batch and its claims; what is settled is committed, no more."""

from collections.abc import Iterable, Mapping, Sequence

import structlog
from confluent_kafka import KafkaError

from processor.clock import Clock, Deadline
from processor.errors import InvariantError
from processor.record import Partition
from processor.settings import JoinSettings, KafkaSettings
from processor.source.booking import Booking
from processor.source.commits import Commits, NoCommits
from processor.source.door import Door
from processor.source.gate import Gate, Outcome, Passed, Share
from processor.source.gauges import Gauges
from processor.source.instep import InStep
from processor.source.intake import Fault, Trouble, records, runs, troubles
from processor.source.ledger import Ledger
from processor.source.misplaced import Misplaced
from processor.source.offsets import Offsets
from processor.source.parting import names, part
from processor.source.pauses import Pauses
from processor.source.places import Places
from processor.source.polled import Follows, Polled, polled
from processor.source.properties import consumer_properties, eager
from processor.source.topics import Topics
from processor.telemetry.metrics import Metrics

__all__ = ["Source"]

_IN_STEP = "in_step"
_REVOKE_SECONDS = 3.0
"""For the commit when partitions leave."""

log = structlog.get_logger()


class Source:
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
        self._ledger = Ledger()
        self._pauses = Pauses()
        self._resting: set[Partition] = set()
        properties = consumer_properties(kafka, together=together)
        self._door = Door(properties, metrics, clock, eager=eager(kafka, together=together))
        offsets = Offsets(kafka, clock)
        self._misplaced = Misplaced(kafka, offsets, metrics, clock)
        self._booking = Booking(
            self._ledger, self._topics, self._misplaced, metrics=metrics, clock=clock
        )
        self._gauges = Gauges(offsets, metrics, clock)
        self._places = Places(kafka, offsets, metrics)
        self._commits: Commits | NoCommits = NoCommits()
        if committing:
            self._commits = Commits(kafka, self._ledger, self._door, metrics=metrics, clock=clock)
        self._instep: InStep | None = None
        if joined is not None:
            gate = Gate(joined.max_wait_seconds, kafka.max_uncommitted_records)
            self._instep = InStep(gate, self._topics, offsets, metrics=metrics, clock=clock)
        self._follower: Follows | None = None
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
    def kept_back(self) -> int:
        """Score records that wait for earlier experience events and were not handed out yet."""
        return self._instep.kept if self._instep else 0

    @property
    def overdue(self) -> str | None:
        """Why sending must stop: settled work could not be committed for too long."""
        return self._commits.overdue

    def start(self, follower: Follows) -> None:
        """Join the group."""
        self._follower = follower
        self._door.subscribe(self._topics.subscription, self)

    def poll(self, seconds: float) -> Polled:
        """Return what there is, waiting at most so long; nothing new while held.

        Raises StopError where records were lost before they were read and the settings say stop,
        InvariantError where the client is dead, and whatever a follower raised.
        """
        messages = self._door.consume(self._kafka.poll_records, seconds)
        polled_now = records(messages)
        booked = [self._booking.book(run) for run in runs(polled_now)]
        if len(polled_now) < len(messages):
            for trouble in troubles(messages):
                self._face(trouble)
        if self._places.find(self._ledger, self._door, self._clock):
            self._resting.clear()
            self._rest()
        # What went wrong may have ended an epoch whose records have just been booked.
        shares = [share for share in booked if share and self._ledger.live(share.claim)]
        passed = self._let_through(shares)
        self._gauges.refresh(self._ledger, self._pauses)
        return polled(passed)

    def settle(self, polled: Polled) -> frozenset[Partition]:
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

    def hold(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Pause intake for a named cause, of these partitions or of all; membership lives on."""
        self._pauses.hold(cause, partitions)
        self._rest()

    def release(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """End a named cause; a partition goes on when none is left."""
        self._pauses.release(cause, partitions)
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
        log.info("Partitions were assigned.", partitions=names(partitions))
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

    def _face(self, trouble: Trouble) -> None:
        partition = trouble.partition
        if trouble.fault is Fault.END:
            self._booking.ended(partition, trouble.offset)
            return
        if trouble.fault is Fault.ASTRAY:
            self._places.lose(partition, trouble.offset)
            return
        self._door.report(trouble.error, f"{partition.topic}/{partition.number}")
        if trouble.fault is Fault.FATAL:
            raise InvariantError(f"The Kafka client can not go on: {trouble.error.str()}")
        if trouble.fault is Fault.EVICTED:
            self._let_go(list(self._ledger), "lost")

    def _let_through(self, shares: Sequence[Share]) -> list[Passed]:
        if self._instep is None:
            return [Passed(share, Outcome.NONE, 0.0) for share in shares]
        passed = self._instep.let_through(shares, self._ledger, held=bool(self._pauses.causes))
        self._pauses.release(_IN_STEP)
        self._pauses.hold(_IN_STEP, self._instep.full(self._ledger))
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
            log.info("Partitions are ours no more.", partitions=names(ours), cause=cause)
            if self._follower is not None:
                self._follower.gone(ours)

    def _drop(self, partitions: Sequence[Partition], cause: str) -> None:
        part(self._ledger, partitions, cause, metrics=self._metrics)
        if self._instep is not None:
            self._instep.forget(partitions)
        self._pauses.forget(partitions)
        self._resting -= set(partitions)
        self._gauges.gone(partitions)
        self._gauges.assigned(self._ledger)
