"""Against a model that keeps every record: no commit ever passes one that is not settled."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange

_PARTITIONS = [Partition("scores", 0), Partition("events", 0)]


class TrackerAgainstModel(RuleBasedStateMachine):
    """Kafka has `stored`; `settled` has the offsets that are settled, by partition."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.now = 0.0
        self.stored = dict.fromkeys(_PARTITIONS, 0)
        self.reading: dict[Partition, int] = {}
        self.in_assignment: dict[Partition, list[int]] = {}
        self.settled: dict[Partition, set[int]] = {partition: set() for partition in _PARTITIONS}
        self.gaps: dict[Partition, set[int]] = {partition: set() for partition in _PARTITIONS}
        self.ranges: list[TrackedRange] = []
        self.sent: list[tuple[Partition, int, float]] = []

    @rule(partition=st.sampled_from(_PARTITIONS), known=st.booleans())
    def assign(self, partition: Partition, known: bool) -> None:  # noqa: FBT001  drawn
        if partition in self.tracker:
            return
        self.tracker.assign(partition, self.stored[partition] if known else None, self.now)
        self.reading[partition] = self.stored[partition]
        self.in_assignment[partition] = []

    @rule(partition=st.sampled_from(_PARTITIONS))
    def revoke(self, partition: Partition) -> None:
        self.tracker.release(partition)
        self.reading.pop(partition, None)

    @rule(
        partition=st.sampled_from(_PARTITIONS), count=st.integers(1, 5), skipped=st.integers(0, 2)
    )
    def poll(self, partition: Partition, count: int, skipped: int) -> None:
        if partition not in self.tracker:
            return
        start = self.reading[partition]
        first = start + skipped
        self.gaps[partition] |= set(range(start, first)) - self.settled[partition]
        self.tracker.advance(partition, first)
        self.ranges.append(
            self.tracker.track(partition, range(first, first + count), count, newest_ms=0)
        )
        self.reading[partition] = first + count

    @precondition(lambda self: self.ranges)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        tracked = self.ranges.pop(data.draw(st.integers(0, len(self.ranges) - 1)))
        self.now += 1.0
        self.settled[tracked.partition] |= set(range(tracked.first, tracked.end))
        self.tracker.settle(tracked, self.now)

    @rule()
    def commit(self) -> None:
        self.now += 1.0
        self.sent += [(*each, self.now) for each in self.tracker.pending_commits().items()]

    @precondition(lambda self: self.sent)
    @rule(arrives=st.booleans(), answered=st.booleans())
    def answer(self, arrives: bool, answered: bool) -> None:  # noqa: FBT001  drawn
        partition, offset, asked = self.sent.pop(0)
        if arrives and partition in self.tracker:
            self.stored[partition] = offset
            self.in_assignment[partition].append(offset)
        if arrives and answered:
            self.tracker.acknowledge(partition, offset, asked)

    @invariant()
    def no_commit_passes_an_unsettled_record(self) -> None:
        for partition, offset in self.tracker.pending_commits().items():
            missing = set(range(offset)) - self.settled[partition] - self.gaps[partition]
            assert not missing, (partition, offset, missing)

    @invariant()
    def stored_offsets_are_settled(self) -> None:
        for partition, offset in self.stored.items():
            assert set(range(offset)) <= self.settled[partition] | self.gaps[partition]

    @invariant()
    def commits_never_go_back_within_an_assignment(self) -> None:
        for offsets in self.in_assignment.values():
            assert offsets == sorted(offsets)

    @invariant()
    def only_ranges_of_current_epochs_are_unsettled(self) -> None:
        current = [tracked for tracked in self.ranges if self.tracker.is_current(tracked)]
        assert self.tracker.unsettled_records == sum(tracked.count for tracked in current)


TestOffsetTracker = TrackerAgainstModel.TestCase
TestOffsetTracker.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
