"""Against a model that keeps every record: no commit ever passes one that is not settled."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange

_PARTITIONS = [Partition("scores", 0), Partition("events", 0)]


class LedgerAgainstModel(RuleBasedStateMachine):
    """Kafka's side is `stored`; what really got a fate is `fated`, by partition and offset."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetTracker()
        self.now = 0.0
        self.stored = dict.fromkeys(_PARTITIONS, 0)
        self.reading: dict[Partition, int] = {}
        self.in_assignment: dict[Partition, list[int]] = {}
        self.fated: dict[Partition, set[int]] = {partition: set() for partition in _PARTITIONS}
        self.holes: dict[Partition, set[int]] = {partition: set() for partition in _PARTITIONS}
        self.claims: list[TrackedRange] = []
        self.sent: list[tuple[Partition, int, float]] = []

    @rule(partition=st.sampled_from(_PARTITIONS), known=st.booleans())
    def assign(self, partition: Partition, known: bool) -> None:  # noqa: FBT001  drawn
        if partition in self.ledger:
            return
        self.ledger.assign(partition, self.stored[partition] if known else None, self.now)
        self.reading[partition] = self.stored[partition]
        self.in_assignment[partition] = []

    @rule(partition=st.sampled_from(_PARTITIONS))
    def revoke(self, partition: Partition) -> None:
        self.ledger.drop(partition)
        self.reading.pop(partition, None)

    @rule(
        partition=st.sampled_from(_PARTITIONS), count=st.integers(1, 5), skipped=st.integers(0, 2)
    )
    def poll(self, partition: Partition, count: int, skipped: int) -> None:
        if partition not in self.ledger:
            return
        start = self.reading[partition]
        first = start + skipped
        self.holes[partition] |= set(range(start, first)) - self.fated[partition]
        self.ledger.reach(partition, first)
        self.claims.append(
            self.ledger.book(partition, range(first, first + count), count, newest_ms=0)
        )
        self.reading[partition] = first + count

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        claim = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        self.now += 1.0
        self.fated[claim.partition] |= set(range(claim.first, claim.next))
        self.ledger.settle(claim, self.now)

    @rule()
    def commit(self) -> None:
        self.now += 1.0
        self.sent += [(*each, self.now) for each in self.ledger.commits().items()]

    @precondition(lambda self: self.sent)
    @rule(arrives=st.booleans(), answered=st.booleans())
    def answer(self, arrives: bool, answered: bool) -> None:  # noqa: FBT001  drawn
        partition, offset, asked = self.sent.pop(0)
        if arrives and partition in self.ledger:
            self.stored[partition] = offset
            self.in_assignment[partition].append(offset)
        if arrives and answered:
            self.ledger.acknowledge(partition, offset, asked)

    @invariant()
    def no_commit_passes_an_unsettled_record(self) -> None:
        for partition, offset in self.ledger.commits().items():
            missing = set(range(offset)) - self.fated[partition] - self.holes[partition]
            assert not missing, (partition, offset, missing)

    @invariant()
    def what_kafka_stores_is_settled(self) -> None:
        for partition, offset in self.stored.items():
            assert set(range(offset)) <= self.fated[partition] | self.holes[partition]

    @invariant()
    def commits_never_go_back_within_an_assignment(self) -> None:
        for offsets in self.in_assignment.values():
            assert offsets == sorted(offsets)

    @invariant()
    def nothing_is_unsettled_that_is_not_ours(self) -> None:
        live = [claim for claim in self.claims if self.ledger.live(claim)]
        assert self.ledger.unsettled == sum(claim.count for claim in live)


TestLedger = LedgerAgainstModel.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
