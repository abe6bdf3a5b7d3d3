"""Where to go on when Kafka can serve no position: at the start, or after records it deleted.

OffsetCommitter: settled prefixes told to Kafka, seldom, without waiting, and never more than that.
"""

from collections.abc import Iterable, Mapping

import structlog
from confluent_kafka import KafkaError

from processor.domain.clock import Clock
from processor.domain.errors import StopError
from processor.domain.record import Partition
from processor.kafka.consumer import KafkaConsumer
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.offsets import OffsetQueries
from processor.settings import KafkaSettings
from processor.telemetry.metrics import Metrics

_IDLE_SECONDS = 86_400.0
"""Kafka forgets offsets that were not committed for `offsets.retention.minutes` (7 days)."""
_ANSWER_SECONDS = 60.0
"""A commit without an answer for so long no longer stands in the way of the next."""


class OffsetCommitter:
    """Says when to commit, and keeps the ledger true about what Kafka has stored."""

    def __init__(
        self,
        kafka: KafkaSettings,
        ledger: OffsetTracker,
        door: KafkaConsumer,
        *,
        metrics: Metrics,
        clock: Clock,
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


class NoOffsetCommitter:
    """OffsetCommitter nothing, not even where reading began: for dry runs."""

    overdue: str | None = None

    def send(self, *, force: bool) -> None:
        """Send nothing."""

    def confirm(self, partitions: Iterable[Partition], seconds: float) -> bool:
        """Return True: there is nothing to store."""
        del partitions, seconds
        return True

    def acknowledged(self, offsets: Mapping[Partition, int], error: KafkaError | None) -> None:
        """Hear of nothing: nothing was asked."""


_ASK_SECONDS = 1.0

log = structlog.get_logger()


class OffsetReset:
    """Keeps the partitions that went astray until each has a place again, as the settings have it.

    A group without a commit begins at `kafka.start`, and that is committed at once: else a restart
    before the first record would begin somewhere else.
    """

    def __init__(self, kafka: KafkaSettings, offsets: OffsetQueries, metrics: Metrics) -> None:
        self._kafka = kafka
        self._offsets = offsets
        self._metrics = metrics
        self._astray: dict[Partition, int | None] = {}

    def lose(self, partition: Partition, wanted: int | None) -> None:
        """Note a partition without a place; `wanted` is the offset Kafka did not have."""
        self._astray[partition] = wanted

    def find(self, ledger: OffsetTracker, door: KafkaConsumer, clock: Clock) -> bool:
        """Place what is astray, as far as Kafka answers now; True where anything moved.

        Raises StopError where records are gone and `kafka.on_gap` says stop.
        """
        self._astray = {each: at for each, at in self._astray.items() if each in ledger}
        if not self._astray:
            return False
        wanted = {each: at for each, at in self._astray.items() if at is not None}
        places = self._beginnings() | self._after(wanted)
        for partition, offset in places.items():
            released = ledger.place(partition, offset, clock.monotonic())
            self._metrics.counter("records_released", partition.topic, "rewound").inc(released)
            del self._astray[partition]
        if places:
            stand = {each: account.reached for each, account in ledger.accounts.items()}
            door.move(places, stand)
        return bool(places)

    def _beginnings(self) -> dict[Partition, int]:
        fresh = [each for each, wanted in self._astray.items() if wanted is None]
        if self._kafka.start == "earliest":
            return self._offsets.starts_within(fresh, _ASK_SECONDS)
        return self._offsets.ends_within(fresh, _ASK_SECONDS)

    def _after(self, wanted: Mapping[Partition, int]) -> dict[Partition, int]:
        oldest = self._offsets.starts_within(wanted, _ASK_SECONDS)
        for partition, start in oldest.items():
            missing = max(0, start - wanted[partition])
            self._metrics.counter("retention_overrun_records", partition.topic).inc(missing)
            log.error(
                "Kafka deleted records before they were read.",
                topic=partition.topic,
                partition=partition.number,
                wanted=wanted[partition],
                oldest=start,
                on_gap=self._kafka.on_gap,
            )
        if oldest and self._kafka.on_gap == "stop":
            names = ", ".join(f"{topic}/{number}" for topic, number in sorted(oldest))
            raise StopError(
                f"Kafka has deleted records of {names} that were not read yet. To go on with the "
                "oldest that are left, set kafka.on_gap to continue."
            )
        return oldest
