"""The state of persons: loaded at once, durable before a commit, restored after a move.

    load --> (plan) --> stage --> (delivery) --> store --> changelog --> local store

A batch's changes are *staged*: later batches see them at once. Once the batch is delivered they are
*stored*: written to the changelog and, when all replicas have them, to the local store together
with the changelog's offset. All changes that wait by then are written together, one write at a
time.

Partitions are numbers: the input topics and the changelog are numbered alike. A partition must be
`ready` before its persons are loaded. One that is revoked stays in the local store as a cache.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError, UnavailableError
from processor.domain.event import ScoreEvent
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.admin import KafkaAdmin, TopicLayout
from processor.kafka.internal_topic import TOMBSTONE_DAYS, OwnTopicWatch
from processor.kafka.topic_reader import TopicReader
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka_client import connection
from processor.state.changelog import ChangelogWriter, StateWrite, StateWriter
from processor.state.format.person import decode
from processor.state.format.store import Origin
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.overlay import Overlay
from processor.state.partitions import AssignedPartitions, prepare
from processor.state.person import Person, PersonKey, PersonLimits
from processor.state.restore import Restore, RestoredPartition
from processor.telemetry.catalogue import (
    CHANGELOG_DISTURBANCES,
    STATE_BYTES,
    STATE_ENTRIES,
)
from processor.telemetry.metrics import Metrics

_RESTORE_SECONDS: Final = 0.1
_RESTORE_BESIDE_SECONDS: Final = 0.01
"""While other partitions are ready, whose records must not wait for the restore."""
_STORE_RETRY: Final = RetryPolicy(first_seconds=1.0, max_seconds=5.0)
_CLOSE_POLL_SECONDS: Final = 0.05
_MEASURE_SECONDS: Final = 10.0
_STALE_MS: Final = (TOMBSTONE_DAYS - 1) * 86_400_000

log = structlog.get_logger()


class ChangelogStateStore:
    """The state of the partitions assigned to this replica. All calls come from one thread."""

    def __init__(  # noqa: PLR0913  three parts, and what all of them need
        self,
        store: LocalStore,
        changelog: ChangelogWriter,
        restore: Restore,
        join: JoinSettings,
        *,
        metrics: Metrics,
        clock: Clock,
        watch: OwnTopicWatch,
    ) -> None:
        self._watch = watch
        self._store = store
        self._changelog = changelog
        self._restore = restore
        self._limits = PersonLimits.of(join)
        self._cache_bytes = join.max_store_bytes // 2
        self._metrics = metrics
        self._clock = clock
        self._overlay = Overlay()
        self._assigned = AssignedPartitions()
        self._writer = StateWriter(store, changelog, self._overlay, self._assigned, clock=clock)
        self._to_restore: list[int] = []
        self._catching_up: set[int] = set()
        self._error: str | None = None
        self._retry = Retry(_STORE_RETRY, clock)
        self._measure_due = Deadline(clock, 0)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing can be stored now; None while it can.

        Nothing is stored while another writer's records are being read, either.
        """
        caught_up = self.restore_unavailable_reason if self._catching_up else None
        fault = self._watch.fault
        return self._error or fault or self._changelog.unavailable_reason or caught_up

    @property
    def restore_unavailable_reason(self) -> str | None:
        """Return why the partitions that are not ready are not restored now."""
        return self._restore.unavailable_reason

    @property
    def restoring(self) -> bool:
        """Return True while an assigned partition is not ready."""
        return not self._assigned.all_ready()

    @property
    def busy(self) -> bool:
        """Return True while anything is to be written, for a batch or to repair the changelog."""
        return self._writer.busy

    def ready(self, partition: int) -> bool:
        """Return True where a partition is assigned and the store has all of its changelog.

        A ready partition is not ready for a moment after another writer wrote to its changelog.
        """
        assigned = self._assigned.find(partition)
        return assigned is not None and assigned.ready

    def assign(self, partitions: Iterable[int]) -> None:
        """Add partitions; `poll` restores them. Those assigned already stay as they are.

        Nothing is read or written here, so it may be called from a rebalance callback.
        """
        self._to_restore += self._assigned.assign(partitions)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Remove partitions, and what is staged for them and is not being written.

        What was stored of them stays on disk as a cache, within half of `join.max_store_bytes`.
        """
        revoked = self._assigned.revoke(partitions)
        self._overlay.revoke(revoked)
        self._writer.revoke(revoked)
        self._to_restore = [one for one in self._to_restore if one not in revoked]
        self._catching_up -= revoked
        for partition in revoked:
            self._restore.cancel(partition)

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return the persons that have state, staged changes included; others are left out.

        Raises InvariantError for a partition that is not ready.
        """
        ready, staged = self._assigned.ready(), self._overlay.find
        found: dict[PersonKey, Person] = {}
        unstaged: list[PersonKey] = []
        for key in keys:
            if key[0] not in ready:
                raise InvariantError(f"Partition {key[0]} is not restored.")
            person = staged(key)
            if person is None:
                unstaged.append(key)
            else:
                found[key] = person
        for key, value in self._store.read(unstaged).items():
            person = decode(value)
            if person is None:
                log.warning(
                    "A state value cannot be decoded and is ignored.",
                    code="state_value_ignored",
                    partition=key[0],
                )
            else:
                found[key] = person
        return found

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Make changes visible to later loads at once; return the ticket to store them by."""
        return self._overlay.stage(changes)

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take scores that were refused out of a ticket's changes and of all staged since."""
        for event in refused:
            self._overlay.withdraw(ticket, event)

    def store(self, ticket: int) -> StateWrite:
        """Make a ticket's changes durable; tickets are stored in the order they were staged."""
        write = self._writer.store(ticket)
        self._start_write()
        return write

    def poll(self) -> None:
        """Serve reports and retries, and restore for a moment where that is due."""
        self._changelog.poll()
        if self._retry.due:
            self._advance()
        if self._measure_due.over():
            self._measure()

    def close(self, seconds: float) -> None:
        """Write what is to be stored, within `seconds`; close the local store in order."""
        deadline = Deadline(self._clock, seconds)
        self._restore.close()
        with suppress(UnavailableError):
            while self._writer.busy and not deadline.over():
                self._writer.start_write()
                self._changelog.poll(min(_CLOSE_POLL_SECONDS, deadline.left()))
                self._writer.finish_write()
        self._changelog.close(deadline.left())
        now_ms = self._clock.now_ms()
        positions = {
            partition: assigned.position(now_ms)
            for partition, assigned in self._assigned.ready().items()
        }
        with suppress(UnavailableError):
            self._store.write({}, positions)
        try:
            self._store.close()
        except UnavailableError as error:
            log.warning(
                "The local store was not closed in order.",
                code="local_store_not_closed",
                error=error.detail,
            )

    def _advance(self) -> None:
        """Finish and start writes, and restore; where the store cannot be written, try later."""
        try:
            self._check_changelog()
            self._begin_restores()
            for partition in self._writer.finish_write():
                self._catch_up(partition)
            if self._restore.busy:
                others = bool(self._assigned.ready())
                seconds = _RESTORE_BESIDE_SECONDS if others else _RESTORE_SECONDS
                for restored in self._restore.step(seconds):
                    self._finish_restore(restored)
            self._start_write()
        except UnavailableError as error:
            if self._error is None:
                log.error(  # noqa: TRY400
                    "State cannot be stored; it is tried again.",
                    code="state_store_unavailable",
                    error=error.detail,
                )
            self._error = str(error)
            self._retry.failed()
            with suppress(UnavailableError):
                self._trim(0)
        else:
            self._error = None
            self._retry.succeeded()

    def _begin_restores(self) -> None:
        stale_before_ms = self._clock.now_ms() - _STALE_MS
        while self._to_restore:
            self._restore.begin(self._to_restore[-1], stale_before_ms=stale_before_ms)
            self._to_restore.pop()  # only now: `begin` raises where the disk fails

    def _check_changelog(self) -> None:
        """Where the changelog was created anew, write all of it again from the local store."""
        topic_id = self._watch.new_id()
        if topic_id is None:
            return
        self._store.adopt(topic_id)
        self._watch.accept(topic_id)
        ready = self._assigned.ready()
        _report_recreated(self._store, topic_id)
        for partition in self._assigned.numbers() - set(self._to_restore):
            self._writer.begin_rewrite(partition)
            self._restore.rewrite(partition)
        for partition, assigned in ready.items():
            assigned.ready = False
            self._catching_up.add(partition)

    def _catch_up(self, partition: int) -> None:
        """Read the unexpected records, before anything else is written or loaded."""
        if partition in self._catching_up:
            return  # all of the changelog is being read
        log.warning(
            "The changelog has unexpected records: another replica's, or this one's written twice.",
            code="changelog_disturbed",
            partition=partition,
        )
        self._metrics.counter(CHANGELOG_DISTURBANCES).inc()
        assigned = self._assigned.find(partition)
        if assigned is not None:
            assigned.ready = False
            self._catching_up.add(partition)
            self._restore.catch_up(partition, assigned.next_offset)

    def _finish_restore(self, restored: RestoredPartition) -> None:
        assigned = self._assigned.find(restored.partition)
        if assigned is None:
            return
        if restored.partition in self._catching_up:
            self._catching_up.remove(restored.partition)
            self._merge_into_staged(restored)
        assigned.ready, assigned.next_offset = True, restored.next_offset
        if restored.rewrite:
            self._rewrite(restored)
        else:
            self._writer.repair(restored.partition, restored.repairs)

    def _rewrite(self, restored: RestoredPartition) -> None:
        """Write what the changelog lacks of a partition."""
        stored = self._store.person_values(restored.partition).items()
        lacking = {key: value for key, value in stored if key not in restored.seen}
        self._writer.rewrite(restored.partition, {**lacking, **restored.repairs})
        if lacking:
            self._metrics.counter(CHANGELOG_DISTURBANCES).inc()
            log.warning(
                "Persons that the changelog lacks are written to it from the local store.",
                code="changelog_rewritten",
                partition=restored.partition,
                persons=len(lacking),
            )

    def _merge_into_staged(self, restored: RestoredPartition) -> None:
        """Bring what another writer wrote into the staged versions of persons."""
        keys = self._overlay.keys(restored.partition)
        stored = {key: decode(value) for key, value in self._store.read(keys).items()}
        for key in keys:
            if key[1] in restored.erased:
                self._overlay.erase(key)
            elif (person := stored.get(key)) is not None:
                self._overlay.merge(key, person, self._limits)

    def _start_write(self) -> None:
        if not self._catching_up:
            self._writer.start_write()

    def _measure(self) -> None:
        self._measure_due = Deadline(self._clock, _MEASURE_SECONDS)
        with suppress(UnavailableError):
            self._trim(self._cache_bytes)
            self._metrics.gauge(STATE_ENTRIES).set(self._store.entries(self._assigned.numbers()))
            self._metrics.gauge(STATE_BYTES).set(self._store.size(self._store.partitions()))

    def _trim(self, limit_bytes: int) -> None:
        """Drop partitions that are not assigned, oldest first, until the store is small enough."""

        def noted_ms(partition: int) -> int:
            position = self._store.position(partition)
            return 0 if position is None else position.at_ms

        unassigned = set(self._store.partitions()) - self._assigned.numbers()
        for partition in sorted(unassigned, key=noted_ms):
            if self._store.size(self._store.partitions()) <= limit_bytes:
                return
            self._store.drop(partition)


def open_state_store(
    join: JoinSettings, kafka: KafkaSettings, metrics: Metrics, clock: Clock
) -> ChangelogStateStore:
    """Open the local store and the changelog topic, which is created where settings say so.

    Blocks for seconds at most. Raises SettingsError where the topics, or the folder, cannot be used
    as they are, and UnavailableError where broker or disk do not answer now.
    """
    client = connection(kafka.bootstrap_servers, f"{kafka.group_id}-state", kafka.client)
    topic, admin = join.changelog_topic, KafkaAdmin(kafka, "state", clock)
    layout = prepare(admin, kafka, join)
    store = LocalStore(
        StoreFolder(Path(join.directory)),
        Origin(topic, layout.cluster, layout.topic_id),
        partitions=layout.changelog.partitions,
        max_bytes=join.max_store_bytes,
    )
    reader = TopicReader(kafka, topic, part="changelog", clock=clock, metrics=metrics)
    restore = Restore(reader, store, PersonLimits.of(join), metrics=metrics, clock=clock)
    changelog = ChangelogWriter(client, topic, metrics, clock)
    watch = OwnTopicWatch(TopicLayout(admin, clock), layout.changelog, clock, layout.topic_id)
    if store.recreated:
        _report_recreated(store, layout.topic_id)
    return ChangelogStateStore(
        store, changelog, restore, join, metrics=metrics, clock=clock, watch=watch
    )


def _report_recreated(store: LocalStore, topic_id: str) -> None:
    log.error(
        "The changelog topic was deleted and created anew. Each replica writes it again from its "
        "local store, and the state of a partition that no local store has is lost.",
        code="changelog_recreated",
        topic_id=topic_id,
        stored_partitions=store.partitions(),
    )
