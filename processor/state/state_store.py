"""The memory, opened: topic prepared, folder locked, store and clients made.

How much the store holds, and what it keeps of partitions that are not ours.

What is remembered of persons: recalled at once, durable before a commit, restored after a move.

    recall --> (the pure middle) --> stage --> delivery --> remember --> changelog --> store

A batch's changes are *staged*: later batches see them at once. Once the batch is delivered they are
*remembered*: written to the changelog and, when all replicas have them, to the local store together
with the changelog's offset. All that is remembered by then flies together, one flight at a time.

Partitions are numbers: the input topics and the changelog are numbered alike. A partition must be
`ready` before its persons are recalled. One that is revoked is left in the store as a cache.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError, UnavailableError
from processor.domain.event import ScoreEvent
from processor.kafka.admin import KafkaAdmin
from processor.kafka.topic_reader import TopicReader
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka_client import Property, connection
from processor.state.changelog import ChangelogWriter, StateWrite, StateWriter
from processor.state.format.person import decode
from processor.state.format.store import ChangelogPosition, Origin, PersonKey
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.overlay import Overlay
from processor.state.partitions import AssignedPartitions
from processor.state.person import Person, PersonLimits
from processor.state.restore import Restore, RestoredPartition
from processor.state.topics import TOMBSTONE_DAYS, prepare
from processor.telemetry.metrics import Metrics


def trim(store: LocalStore, ours: AbstractSet[int], limit_bytes: int) -> None:
    """Drop other partitions, longest left alone first, until the store is within a limit."""

    def left_at(partition: int) -> int:
        mark = store.mark(partition)
        return 0 if mark is None else mark.at_ms

    for partition in sorted(set(store.partitions()) - ours, key=left_at):
        if store.size(store.partitions()) <= limit_bytes:
            return
        store.drop(partition)


def measure(store: LocalStore, ours: AbstractSet[int], metrics: Metrics) -> None:
    """Set the gauges of persons (of ours) and bytes (of all)."""
    metrics.gauge("state_entries").set(store.entries(ours))
    metrics.gauge("state_bytes").set(store.size(store.partitions()))


_SLICE_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_MEASURE_SECONDS: Final = 10.0
_STALE_MS: Final = (TOMBSTONE_DAYS - 1) * 86_400_000

log = structlog.get_logger()


class ChangelogStateStore:
    """The state of the partitions this replica owns. All calls come from one thread."""

    def __init__(  # noqa: PLR0913  three doors and three ways to look at them
        self,
        store: LocalStore,
        changelog: ChangelogWriter,
        restore: Restore,
        join: JoinSettings,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._restore = restore
        self._limits = PersonLimits.of(join)
        self._cache_bytes = join.max_store_bytes // 2
        self._metrics = metrics
        self._clock = clock
        self._overlay = Overlay()
        self._territory = AssignedPartitions()
        self._flights = StateWriter(store, changelog, self._overlay, self._territory, clock=clock)
        self._arrivals: list[int] = []
        self._disturbed: set[int] = set()
        self._trouble: str | None = None
        self._retry = Deadline(clock, 0)
        self._measured = Deadline(clock, 0)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing can be remembered or restored now; None while all is well."""
        return (
            self._trouble or self._changelog.unavailable_reason or self._restore.unavailable_reason
        )

    @property
    def restoring(self) -> bool:
        """Return True while a partition of ours is not ready."""
        return not self._territory.whole()

    @property
    def busy(self) -> bool:
        """Return True while anything is to be written, for a batch or for the changelog's sake."""
        return self._flights.busy

    def ready(self, partition: int) -> bool:
        """Return True where a partition is ours and all that the changelog says of it is here.

        A ready partition turns unready for a moment where somebody else wrote to its changelog.
        """
        owned = self._territory.find(partition)
        return owned is not None and owned.ready

    def assign(self, partitions: Iterable[int]) -> None:
        """Take partitions on; `poll` restores them. Those that are ours already stay as they are.

        Nothing is read or written here, so it may be called from a rebalance callback.
        """
        self._arrivals += self._territory.take(partitions)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Give partitions up, and with them what is staged for them and not in the air yet.

        What was stored of them stays on disk as a cache, within half of `join.max_store_bytes`.
        """
        gone = self._territory.leave(partitions)
        self._overlay.leave(gone)
        self._flights.leave(gone)
        self._arrivals = [one for one in self._arrivals if one not in gone]
        self._disturbed -= gone
        for partition in gone:
            self._restore.cancel(partition)

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return what is known, staged changes included; the unknown are left out.

        Raises InvariantError for a partition that is not ready.
        """
        ready, staged = self._territory.ready(), self._overlay.find
        found: dict[PersonKey, Person] = {}
        asked: list[PersonKey] = []
        for key in keys:
            if key[0] not in ready:
                raise InvariantError(f"Partition {key[0]} is not restored.")
            person = staged(key)
            if person is None:
                asked.append(key)
            else:
                found[key] = person
        for key, wire in self._store.read(asked).items():
            person = decode(wire)
            if person is None:
                log.warning("A state record is not ours; its person is unknown.", partition=key[0])
            else:
                found[key] = person
        return found

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Show changes to later recalls at once; return the ticket to remember them by."""
        return self._overlay.stage(changes)

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take scores that were refused out of a ticket's changes and of all staged since."""
        for event in refused:
            self._overlay.withdraw(ticket, event)

    def store(self, ticket: int) -> StateWrite:
        """Make a ticket's changes durable; tickets are remembered in the order they were staged."""
        remembering = self._flights.store(ticket)
        self._take_off()
        return remembering

    def poll(self) -> None:
        """Serve reports and retries, and restore for a tenth of a second where that is due."""
        self._changelog.poll()
        if self._retry.over():
            self._attempt()
        if self._measured.over():
            self._measure()

    def close(self, seconds: float) -> None:
        """Write what is to be remembered, within so many seconds; leave the store in order."""
        deadline = Deadline(self._clock, seconds)
        self._restore.close()
        with suppress(UnavailableError):
            while self._flights.busy and not deadline.over():
                self._flights.take_off()
                self._changelog.poll(min(0.05, deadline.left()))
                self._flights.land()
        self._changelog.close(deadline.left())
        now_ms = self._clock.now_ms()
        ready = self._territory.ready().items()
        with suppress(UnavailableError):
            self._store.write(
                {}, {one: ChangelogPosition(owned.next_offset, now_ms) for one, owned in ready}
            )
        try:
            self._store.close()
        except UnavailableError as error:
            log.warning("The local store was not closed in order.", words=error.detail)

    def _attempt(self) -> None:
        try:
            self._begin_arrivals()
            for partition in self._flights.land():
                self._look_back(partition)
            if self._restore.busy:
                for restored in self._restore.step(_SLICE_SECONDS):
                    self._welcome(restored)
            self._take_off()
        except UnavailableError as error:
            if self._trouble is None:
                log.error("State can not be stored; trying again.", words=error.detail)  # noqa: TRY400
            self._trouble = str(error)
            self._retry = Deadline(self._clock, _RETRY_SECONDS)
            with suppress(UnavailableError):
                trim(self._store, self._territory.numbers(), 0)
        else:
            self._trouble = None

    def _begin_arrivals(self) -> None:
        while self._arrivals:
            stale_before_ms = self._clock.now_ms() - _STALE_MS
            self._restore.begin(self._arrivals[-1], stale_before_ms=stale_before_ms)
            self._arrivals.pop()

    def _look_back(self, partition: int) -> None:
        """Read what somebody else wrote between our own records, before anything else is."""
        log.warning("Somebody else wrote to the changelog.", partition=partition)
        self._metrics.counter("changelog_disturbances").inc()
        owned = self._territory.find(partition)
        if owned is not None:
            owned.ready = False
            self._disturbed.add(partition)
            self._restore.catch_up(partition, owned.next_offset)

    def _welcome(self, restored: RestoredPartition) -> None:
        owned = self._territory.find(restored.partition)
        if owned is None:
            return
        if restored.partition in self._disturbed:
            self._disturbed.remove(restored.partition)
            self._reconcile(restored)
        owned.ready, owned.next_offset = True, restored.next_offset
        self._flights.owe(restored.partition, restored.owed)

    def _reconcile(self, restored: RestoredPartition) -> None:
        """Let what is staged know what was found out."""
        keys = self._overlay.keys(restored.partition)
        known = {key: decode(wire) for key, wire in self._store.read(keys).items()}
        for key in keys:
            if key[1] in restored.forgotten:
                self._overlay.forget(key)
            elif (theirs := known.get(key)) is not None:
                self._overlay.merge(key, theirs, self._limits)

    def _take_off(self) -> None:
        if not self._disturbed:
            self._flights.take_off()

    def _measure(self) -> None:
        self._measured = Deadline(self._clock, _MEASURE_SECONDS)
        ours = self._territory.numbers()
        with suppress(UnavailableError):
            trim(self._store, ours, self._cache_bytes)
            measure(self._store, ours, self._metrics)


def open_state_store(
    join: JoinSettings, kafka: KafkaSettings, metrics: Metrics, clock: Clock
) -> ChangelogStateStore:
    """Open the local store and the changelog topic, which is created where settings say so.

    Blocks for seconds at most. Raises SettingsError where the topics, or the folder, can not be
    used as they are, and UnavailableError where broker or disk do not answer now.
    """
    properties = _properties(kafka)
    topic = join.changelog_topic
    layout = prepare(_admin(kafka, clock), kafka, join)
    store = LocalStore(
        StoreFolder(Path(join.directory)),
        Origin(topic, layout.cluster, layout.topic_id),
        partitions=layout.partitions,
        max_bytes=join.max_store_bytes,
    )
    reader = _changelog_reader(join, kafka, metrics, clock)
    restore = Restore(reader, store, PersonLimits.of(join), metrics=metrics, clock=clock)
    changelog = ChangelogWriter(properties, topic, metrics, clock)
    return ChangelogStateStore(store, changelog, restore, join, metrics=metrics, clock=clock)


def open_reader(join: JoinSettings, kafka: KafkaSettings, clock: Clock) -> tuple[TopicReader, int]:
    """Open the changelog topic to look at it; return its partition count too."""
    layout = prepare(_admin(kafka, clock), kafka, _as_it_is(join))
    return _changelog_reader(join, kafka, Metrics(), clock), layout.partitions


def open_changelog(
    join: JoinSettings, kafka: KafkaSettings, clock: Clock
) -> tuple[ChangelogWriter, int]:
    """Open the changelog topic to write to it from outside; return its partition count too."""
    properties = _properties(kafka)
    layout = prepare(_admin(kafka, clock), kafka, _as_it_is(join))
    return ChangelogWriter(properties, join.changelog_topic, Metrics(), clock), layout.partitions


def open_scratch(folder: Path, join: JoinSettings, partitions: int) -> LocalStore:
    """Open an empty store to be thrown away."""
    origin = Origin(join.changelog_topic, "scratch")
    return LocalStore(
        StoreFolder(folder), origin, partitions=partitions, max_bytes=join.max_store_bytes
    )


def _admin(kafka: KafkaSettings, clock: Clock) -> KafkaAdmin:
    return KafkaAdmin(kafka, "state", clock)


def _changelog_reader(
    join: JoinSettings, kafka: KafkaSettings, metrics: Metrics, clock: Clock
) -> TopicReader:
    topic = join.changelog_topic
    return TopicReader(kafka, topic, part="changelog", clock=clock, metrics=metrics)


def _properties(kafka: KafkaSettings) -> dict[str, Property]:
    return connection(kafka.bootstrap_servers, f"{kafka.group_id}-state", kafka.client)


def _as_it_is(join: JoinSettings) -> JoinSettings:
    return join.model_copy(update={"create_changelog": False})
