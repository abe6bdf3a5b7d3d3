"""What was polled and what is settled, per partition and assignment: only the prefix is committed.

Polled records are booked as claims, one for each partition of a poll. A claim is settled as a
whole, in any order; a partition's position moves over the claims that are settled without a hole.
"""

from collections import deque
from collections.abc import Iterator

import msgspec

from processor.domain.errors import InvariantError
from processor.domain.record import Partition


class TrackedRange(msgspec.Struct, frozen=True, gc=False):
    """One partition's share of one poll. `next` is the offset after its last record."""

    partition: Partition
    epoch: int
    serial: int
    first: int
    next: int
    count: int
    newest_ms: int


class PartitionOffsets:
    """One partition in one assignment; read it freely, the ledger alone changes it.

    Offsets are Kafka's: `position` is the next one to commit, `reached` the next one to read. None
    means that nothing is known yet.
    """

    __slots__ = (
        "committed",
        "committed_at",
        "epoch",
        "open",
        "position",
        "reached",
        "settled",
        "settled_ms",
        "unsettled",
        "waiting_since",
    )

    def __init__(self, epoch: int, committed: int | None, now: float) -> None:
        self.epoch = epoch
        self.committed = self.position = self.reached = committed
        self.committed_at = now
        self.open: deque[TrackedRange] = deque()
        self.settled: set[int] = set()
        self.settled_ms = 0
        self.unsettled = 0
        self.waiting_since: float | None = None

    def close_up(self) -> None:
        """With nothing open, be settled up to where it was read: control records may end it."""
        if not self.open and self.position is not None:
            self.position = max(self.position, self.reached or 0)

    def due(self) -> bool:
        """Return True while there is a settled prefix that Kafka has not acknowledged."""
        return self.position is not None and self.position != self.committed


class OffsetTracker:
    """The accounts of the partitions that are ours now.

    `now` is monotonic seconds throughout. An epoch is one assignment of one partition: what is
    settled after its epoch has ended is ignored, for another member reads those records again.
    """

    def __init__(self) -> None:
        self.accounts: dict[Partition, PartitionOffsets] = {}
        self._epochs = 0
        self._serials = 0

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.accounts)

    def __contains__(self, partition: Partition) -> bool:
        return partition in self.accounts

    @property
    def unsettled(self) -> int:
        """Records that are booked and neither settled nor dropped."""
        return sum(account.unsettled for account in self.accounts.values())

    def assign(self, partition: Partition, committed: int | None, now: float) -> None:
        """Begin an epoch; `committed` is the group's offset where it is known."""
        self._epochs += 1
        self.accounts[partition] = PartitionOffsets(self._epochs, committed, now)

    def drop(self, partition: Partition) -> int:
        """End an epoch and return how many records of it were never settled."""
        account = self.accounts.pop(partition, None)
        return account.unsettled if account else 0

    def place(self, partition: Partition, offset: int, now: float) -> int:
        """Note that reading goes on at `offset`, wherever it stood; return what that gave up.

        Going back means that the partition is another one than before: a new epoch begins.
        """
        account = self.accounts[partition]
        if account.reached is not None and offset < account.reached:
            released = self.drop(partition)
            self.assign(partition, None, now)
            return released + self.place(partition, offset, now)
        account.reached = offset
        if not account.open:
            account.position = offset
            account.waiting_since = now
        return 0

    def reach(self, partition: Partition, offset: int) -> int:
        """Note that everything below `offset` was read; return how many offsets were skipped."""
        account = self.accounts[partition]
        expected = offset if account.reached is None else account.reached
        account.reached = max(expected, offset)
        account.close_up()
        return max(0, offset - expected)

    def book(
        self, partition: Partition, offsets: range, count: int, newest_ms: int
    ) -> TrackedRange:
        """Book `count` records polled within `offsets`; the partition must be ours."""
        account = self.accounts[partition]
        self._serials += 1
        claim = TrackedRange(
            partition,
            account.epoch,
            self._serials,
            offsets.start,
            offsets.stop,
            count,
            newest_ms,
        )
        account.open.append(claim)
        account.unsettled += count
        account.reached = max(offsets.stop, account.reached or 0)
        if account.position is None:
            account.position = account.committed = offsets.start
        return claim

    def caught_up(self, partition: Partition, end: int, at_ms: int) -> None:
        """Note that the partition ended there at this time: with all settled, so is the time."""
        account = self.accounts[partition]
        if not account.open and (account.reached or 0) >= end:
            account.settled_ms = max(at_ms, account.settled_ms)

    def reached(self) -> dict[Partition, int]:
        """Return how far each partition was read, where that is known."""
        return {
            partition: account.reached
            for partition, account in self.accounts.items()
            if account.reached is not None
        }

    def settled(self) -> dict[Partition, int]:
        """Return up to where each partition is settled without a hole, where that is known."""
        return {
            partition: account.position
            for partition, account in self.accounts.items()
            if account.position is not None
        }

    def live(self, claim: TrackedRange) -> bool:
        """Return True while the claim's epoch lasts."""
        account = self.accounts.get(claim.partition)
        return account is not None and account.epoch == claim.epoch

    def settle(self, claim: TrackedRange, now: float) -> bool:
        """Settle a claim once; False where its epoch has ended, and then nothing is changed."""
        if not self.live(claim):
            return False
        account = self.accounts[claim.partition]
        if claim.serial in account.settled or claim.serial < account.open[0].serial:
            raise InvariantError(f"A claim of {claim.partition} was settled twice.")
        account.settled.add(claim.serial)
        account.unsettled -= claim.count
        while account.open and account.open[0].serial in account.settled:
            self._advance(account, account.open.popleft(), now)
        account.close_up()
        return True

    def commits(self) -> dict[Partition, int]:
        """Return the next offset to commit of each partition whose prefix has grown."""
        return {
            partition: account.position
            for partition, account in self.accounts.items()
            if account.position is not None and account.due()
        }

    def idle(self, before: float) -> dict[Partition, int]:
        """Return committed offsets last acknowledged `before`, which Kafka would let expire."""
        return {
            partition: account.committed
            for partition, account in self.accounts.items()
            if account.committed is not None and account.committed_at < before
        }

    def acknowledge(self, partition: Partition, offset: int, asked: float) -> None:
        """Note that Kafka stored `offset`, as a commit issued at `asked` wanted."""
        account = self.accounts.get(partition)
        if account is None or account.position is None or offset > account.position:
            return  # the answer to a commit of an earlier epoch
        account.committed = max(offset, account.committed or 0)
        account.committed_at = asked
        account.waiting_since = (
            max(asked, account.waiting_since or asked) if account.due() else None
        )

    def overdue(self, before: float) -> bool:
        """Return True where settled work has waited for its commit since `before`."""
        return any(
            account.waiting_since is not None and account.waiting_since < before
            for account in self.accounts.values()
        )

    def _advance(self, account: PartitionOffsets, claim: TrackedRange, now: float) -> None:
        account.settled.discard(claim.serial)
        account.position = max(claim.next, account.position or 0)
        account.settled_ms = max(claim.newest_ms, account.settled_ms)
        if account.waiting_since is None:
            account.waiting_since = now
