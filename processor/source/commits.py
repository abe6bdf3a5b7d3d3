"""Commits: settled prefixes told to Kafka, seldom, without waiting, and never more than that."""

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError

from processor.clock import Clock
from processor.record import Partition
from processor.settings import KafkaSettings
from processor.source.door import Door
from processor.source.ledger import Ledger
from processor.telemetry.metrics import Metrics

__all__ = ["Commits", "NoCommits"]

_IDLE_SECONDS = 86_400.0
"""Kafka forgets offsets that were not committed for `offsets.retention.minutes` (7 days)."""
_ANSWER_SECONDS = 60.0
"""A commit without an answer for so long no longer stands in the way of the next."""


class Commits:
    """Says when to commit, and keeps the ledger true about what Kafka has stored."""

    def __init__(
        self, kafka: KafkaSettings, ledger: Ledger, door: Door, *, metrics: Metrics, clock: Clock
    ) -> None:
        self._kafka = kafka
        self._ledger = ledger
        self._door = door
        self._metrics = metrics
        self._clock = clock
        self._sent: float | None = None
        self._at = clock.monotonic() - kafka.commit_seconds

    @property
    def overdue(self) -> str | None:
        """Why sending must stop: settled work could not be committed for too long."""
        limit = self._kafka.commit_age_limit_seconds
        if not self._ledger.overdue(self._clock.monotonic() - limit):
            return None
        return f"settled records could not be committed for {limit:g} seconds"

    def send(self, *, force: bool) -> None:
        """Commit what is settled when it is time to, or now; one commit is under way at most."""
        now = self._clock.monotonic()
        if self._sent is not None and now - self._sent < _ANSWER_SECONDS:
            return
        if now - self._at < self._kafka.commit_seconds and not force:
            return
        offsets = self._ledger.idle(now - _IDLE_SECONDS) | self._ledger.commits()
        if not offsets:
            return
        self._at = now
        if self._door.commit(offsets):
            self._sent = now
        else:
            self._metrics.counter("commits", "failed").inc()

    def confirm(self, partitions: Iterable[Partition], seconds: float) -> bool:
        """Commit the prefixes of these and wait for Kafka's word; True where all is stored."""
        leaving = set(partitions)
        due = self._ledger.commits()
        offsets = {partition: due[partition] for partition in due.keys() & leaving}
        if not offsets:
            return True
        asked = self._clock.monotonic()
        confirmed = self._door.confirm(offsets, seconds)
        self._metrics.counter("commits", "ok" if confirmed else "failed").inc()
        if confirmed:
            self._note(offsets, asked)
        return confirmed

    def acknowledged(self, offsets: Mapping[Partition, int], error: KafkaError | None) -> None:
        """Note how a commit ended; what failed goes with the next."""
        asked = self._clock.monotonic() if self._sent is None else self._sent
        self._sent = None
        if error is not None:
            self._door.report(error, "commit")
        self._metrics.counter("commits", "failed" if error else "ok").inc()
        self._note(offsets, asked)

    def _note(self, offsets: Mapping[Partition, int], asked: float) -> None:
        for partition, offset in offsets.items():
            self._ledger.acknowledge(partition, offset, asked)
        if offsets:
            now_seconds = self._clock.now_ms() / 1000
            self._metrics.gauge("last_commit_timestamp_seconds").set(now_seconds)


class NoCommits:
    """Commits nothing, not even where reading began: for dry runs."""

    overdue: str | None = None

    def send(self, *, force: bool) -> None:
        """Send nothing."""

    def confirm(self, partitions: Iterable[Partition], seconds: float) -> bool:
        """Return True: there is nothing to store."""
        del partitions, seconds
        return True

    def acknowledged(self, offsets: Mapping[Partition, int], error: KafkaError | None) -> None:
        """Hear of nothing: nothing was asked."""
