"""Where to go on when Kafka can serve no position: at the start, or after records it deleted."""

from collections.abc import Mapping

import structlog

from processor.clock import Clock
from processor.errors import StopError
from processor.record import Partition
from processor.settings import KafkaSettings
from processor.source.door import Door
from processor.source.ledger import Ledger
from processor.source.offsets import Offsets
from processor.telemetry.metrics import Metrics

__all__ = ["Places"]

_ASK_SECONDS = 1.0

log = structlog.get_logger()


class Places:
    """Keeps the partitions that went astray until each has a place again, as the settings have it.

    A group without a commit begins at `kafka.start`, and that is committed at once: else a restart
    before the first record would begin somewhere else.
    """

    def __init__(self, kafka: KafkaSettings, offsets: Offsets, metrics: Metrics) -> None:
        self._kafka = kafka
        self._offsets = offsets
        self._metrics = metrics
        self._astray: dict[Partition, int | None] = {}

    def lose(self, partition: Partition, wanted: int | None) -> None:
        """Note a partition without a place; `wanted` is the offset Kafka did not have."""
        self._astray[partition] = wanted

    def find(self, ledger: Ledger, door: Door, clock: Clock) -> bool:
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
