"""What SREs see of the left door, refreshed every few seconds and not for every record.

Who wants which partition paused: a partition rests while any cause holds it.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from processor.domain.clock import Clock
from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.offsets import OffsetQueries, OffsetQuery
from processor.telemetry.metrics import Metrics


class PauseCauses:
    """Causes for all partitions, and causes for single ones; it decides, the door pauses."""

    def __init__(self) -> None:
        self._everywhere: set[str] = set()
        self._single: dict[str, set[Partition]] = {}

    @property
    def causes(self) -> AbstractSet[str]:
        """The causes that hold every partition, also those to come."""
        return self._everywhere

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Add a cause, for these partitions or for all."""
        if partitions is None:
            self._everywhere.add(cause)
        else:
            self._single.setdefault(cause, set()).update(partitions)

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
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


_SECONDS = 5.0
_PER_PARTITION = ("lag_records", "settled_watermark_timestamp_seconds")


class PartitionGauges:
    """Shows lag, watermark, assignment and pauses; takes back what is no longer ours.

    Where partitions end is asked of Kafka, so lag is true while everything is paused.
    """

    def __init__(self, offsets: OffsetQueries, metrics: Metrics, clock: Clock) -> None:
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._asked: OffsetQuery | None = None
        self._asked_ms = 0
        self._due = clock.monotonic()
        self._topics: set[str] = set()
        self._causes: set[str] = set()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Show how many partitions of each topic are ours, and soon how they stand."""
        self._due = self._clock.monotonic()
        counts = dict.fromkeys(self._topics, 0)
        for partition in partitions:
            counts[partition.topic] = counts.get(partition.topic, 0) + 1
        self._topics = set(counts)
        for topic, count in counts.items():
            self._metrics.gauge("assigned_partitions", topic).set(count)

    def gone(self, partitions: Iterable[Partition]) -> None:
        """Take back the series of these partitions."""
        for topic, number in partitions:
            for name in _PER_PARTITION:
                self._metrics.forget(name, topic, str(number))

    def refresh(self, ledger: OffsetTracker, pauses: PauseCauses) -> None:
        """Ask where partitions end when it is time to, and show what came of the last question."""
        if self._asked is not None and self._asked.done():
            ends, self._asked = self._asked.offsets(), None
            for partition in ends.keys() & ledger.accounts.keys():
                ledger.caught_up(partition, ends[partition], self._asked_ms)
                self._show(partition, ledger, ends[partition])
            self._pauses(ledger, pauses)
        now = self._clock.monotonic()
        if self._asked is None and now >= self._due:
            self._due = now + _SECONDS
            self._asked_ms = self._clock.now_ms()
            self._asked = self._offsets.ends(ledger)

    def _show(self, partition: Partition, ledger: OffsetTracker, end: int) -> None:
        account = ledger.accounts[partition]
        labels = (partition.topic, str(partition.number))
        if account.committed is not None:
            lag = max(0, end - account.committed)
            self._metrics.gauge("lag_records", *labels).set(lag)
        if account.settled_ms:
            watermark = self._metrics.gauge("settled_watermark_timestamp_seconds", *labels)
            watermark.set(account.settled_ms / 1000)

    def _pauses(self, ledger: OffsetTracker, pauses: PauseCauses) -> None:
        counts = pauses.by_cause(ledger)
        self._causes |= counts.keys()
        for cause in self._causes:
            self._metrics.gauge("paused_partitions", cause).set(counts[cause])
