"""Who wants which partition paused: a partition rests while any cause holds it."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from processor.record import Partition

__all__ = ["Pauses"]


class Pauses:
    """Causes for all partitions, and causes for single ones; it decides, the door pauses."""

    def __init__(self) -> None:
        self._everywhere: set[str] = set()
        self._single: dict[str, set[Partition]] = {}

    @property
    def causes(self) -> AbstractSet[str]:
        """The causes that hold every partition, also those to come."""
        return self._everywhere

    def hold(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Add a cause, for these partitions or for all."""
        if partitions is None:
            self._everywhere.add(cause)
        else:
            self._single.setdefault(cause, set()).update(partitions)

    def release(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Take a cause away, for these partitions or altogether."""
        if partitions is not None:
            self._single.get(cause, set()).difference_update(partitions)
            return
        self._everywhere.discard(cause)
        self._single.pop(cause, None)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what was wanted for single partitions that are no longer ours."""
        gone = set(partitions)
        for held in self._single.values():
            held.difference_update(gone)

    def paused(self, assigned: Iterable[Partition]) -> set[Partition]:
        """Return those of the assigned partitions that are to rest."""
        ours = set(assigned)
        if self._everywhere:
            return ours
        return ours.intersection(*[set().union(*self._single.values())])

    def by_cause(self, assigned: Iterable[Partition]) -> Counter[str]:
        """Return how many assigned partitions each cause holds."""
        ours = set(assigned)
        counts = Counter({cause: len(ours) for cause in self._everywhere})
        for cause, held in self._single.items():
            if cause not in self._everywhere:
                counts[cause] = len(ours & held)
        return counts
