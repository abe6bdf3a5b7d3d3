"""What one poll hands on, and who follows the assignment it comes from."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from processor.record import Partition, Record
from processor.source.gate import Outcome, Passed
from processor.source.ledger import Claim

__all__ = ["Follows", "Polled", "polled"]


class Polled(NamedTuple):
    """One poll: records in Kafka's order per partition, and the claims they are booked under.

    `overdue` holds the places of score records whose wait for earlier events ran out.
    """

    records: Sequence[Record]
    claims: Sequence[Claim]
    overdue: frozenset[int] = frozenset()

    def without(self, partitions: AbstractSet[Partition]) -> "Polled":
        """Return the poll without what came from these partitions."""
        kept = [
            place
            for place, record in enumerate(self.records)
            if (record.topic, record.partition) not in partitions
        ]
        return Polled(
            [self.records[place] for place in kept],
            [claim for claim in self.claims if claim.partition not in partitions],
            frozenset(new for new, place in enumerate(kept) if place in self.overdue),
        )


class Follows(Protocol):
    """Who follows the assignment. All of it is called inside `Source.poll`, on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours from now on; nothing of them was polled yet."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle what is under way for these partitions, in bounded time: they are leaving."""
        ...

    def gone(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours no more; what is unsettled of them was released."""
        ...


def polled(passed: Sequence[Passed]) -> Polled:
    """Join what passed, in order, into one poll."""
    together: list[Record] = []
    overdue: set[int] = set()
    for share, outcome, _ in passed:
        if outcome is Outcome.TIMEOUT:
            overdue.update(range(len(together), len(together) + len(share.records)))
        together += share.records
    return Polled(together, [each.share.claim for each in passed], frozenset(overdue))
