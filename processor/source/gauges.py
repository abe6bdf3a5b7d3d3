"""What SREs see of the left door, refreshed every few seconds and not for every record."""

from collections.abc import Iterable

from processor.clock import Clock
from processor.record import Partition
from processor.source.ledger import Ledger
from processor.source.offsets import Asked, Offsets
from processor.source.pauses import Pauses
from processor.telemetry.metrics import Metrics

__all__ = ["Gauges"]

_SECONDS = 5.0
_PER_PARTITION = ("lag_records", "settled_watermark_timestamp_seconds")


class Gauges:
    """Shows lag, watermark, assignment and pauses; takes back what is no longer ours.

    Where partitions end is asked of Kafka, so lag is true while everything is paused.
    """

    def __init__(self, offsets: Offsets, metrics: Metrics, clock: Clock) -> None:
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._asked: Asked | None = None
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

    def refresh(self, ledger: Ledger, pauses: Pauses) -> None:
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

    def _show(self, partition: Partition, ledger: Ledger, end: int) -> None:
        account = ledger.accounts[partition]
        labels = (partition.topic, str(partition.number))
        if account.committed is not None:
            lag = max(0, end - account.committed)
            self._metrics.gauge("lag_records", *labels).set(lag)
        if account.settled_ms:
            watermark = self._metrics.gauge("settled_watermark_timestamp_seconds", *labels)
            watermark.set(account.settled_ms / 1000)

    def _pauses(self, ledger: Ledger, pauses: Pauses) -> None:
        counts = pauses.by_cause(ledger)
        self._causes |= counts.keys()
        for cause in self._causes:
            self._metrics.gauge("paused_partitions", cause).set(counts[cause])
