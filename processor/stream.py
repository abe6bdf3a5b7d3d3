"""The loop: one poll is one batch; batches are delivered side by side and settle in order.

    poll -> fetch schemas -> decode -> load state -> plan
         -> deliver -> dead-letter -> store state -> settle -> commit

One thread runs the loop and does the work of the CPU; a short, ordered window of batches is in
progress so that it works while the network waits. Nothing here sleeps or blocks for longer than a
poll. A record's way: `run_once`, `Source.poll`, `Planner.decode`, `StateStore.load`,
`Planner.plan`, `Batch.advance`, `Source.settle`, `Source.commit`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from processor.batch import Batch, BatchObserver, Phase
from processor.components import Components, Poll
from processor.domain.clock import Clock, Deadline
from processor.domain.errors import StopError, UnavailableError
from processor.domain.outcome import Outcome
from processor.domain.record import Partition
from processor.domain.retry import Retry, RetryPolicy
from processor.planner import Planner
from processor.settings import Settings
from processor.state.partitions import StatePartitions
from processor.telemetry.catalogue import State


class Backpressure:
    """Pauses the source while a component is unavailable or the window is full."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self.reasons: Mapping[str, str] = {}

    def update(self, *, registry: str | None, window: str | None) -> None:
        """Collect the reasons to pause by part, and pause or resume the source for each change.

        `registry` and `window` are the loop's own reasons, None where there is none.
        """
        source, sink, dead_letters, state_store, repartition = self._components
        restoring = "person state is being restored" if state_store.restoring else None
        found = {
            "destination": sink.unavailable_reason,
            "dead_letters": dead_letters.unavailable_reason,
            "state": state_store.unavailable_reason or restoring,
            "repartition": repartition.unavailable_reason,
            "commit": source.commit_overdue,
            "registry": registry,
            "window": window,
        }
        reasons = {part: reason for part, reason in found.items() if reason}
        for part in self.reasons.keys() - reasons.keys():
            source.resume(part)
        for part in reasons.keys() - self.reasons.keys():
            source.pause(part)
        self.reasons = reasons


_FULL_WINDOW_SECONDS = 2.0
"""A full window pauses intake only after so long: pausing throws prefetched records away."""
_WINDOW_BYTES = 64 << 20
_PAUSED_POLL_SECONDS = 0.05
_FULL_WAIT_SECONDS = 0.002
_SCHEMA_RETRY = RetryPolicy(first_seconds=1.0, max_seconds=5.0)


class Stream:
    """Runs the loop until it is stopped; owns the window of batches in progress.

    `stop()` may be called from a signal handler: it only sets a flag. The stream follows the
    source's assignment: the records of partitions that are to be revoked are settled first, as far
    as time allows.
    """

    def __init__(
        self,
        components: Components,
        planner: Planner,
        *,
        settings: Settings,
        observer: BatchObserver,
        clock: Clock,
    ) -> None:
        self._components = components
        self._source = components.source
        self._planner = planner
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self._polls: deque[Poll] = deque()
        self._window: deque[Batch] = deque()
        self._backpressure = Backpressure(components)
        self._state_partitions = StatePartitions(settings)
        self._schema_retry = Retry(_SCHEMA_RETRY, clock)
        self._schemas_unavailable: str | None = None
        self._full_since: float | None = None
        self._stopping = False
        self._stop_deadline: Deadline | None = None

    def stop(self) -> None:
        """Ask the loop to end after this turn."""
        self._stopping = True

    def run(self, until: Callable[[], bool] = bool) -> bool:
        """Run until `stop` is called or `until` returns True, then settle, commit and leave.

        Returns whether everything that was consumed is settled.
        Raises StopError where a limit of the settings is exceeded; batches in progress are settled
        first. Any other exception is a fault of the program: nothing more is committed.
        """
        self._source.start(self)
        try:
            while not self._stopping and not until():
                self.run_once()
        except StopError:
            self._close()
            raise
        return self._close()

    def run_once(self) -> None:
        """Run one turn: poll where there is room, start batches, advance, settle and commit."""
        self._update_backpressure()
        with self._timed("poll"):
            poll = self._poll()
        if poll is not None and poll.records:
            self._polls.append(poll)
        while self._polls and self._can_load(self._polls[0]) and self._fetch_schemas():
            self._window.append(self._start(self._polls.popleft()))
        self._advance()
        self._source.commit()
        self._observer.loop_turned(self.unsettled + self._source.waiting_records)

    @property
    def unsettled(self) -> int:
        """Return how many polled records are not settled."""
        waiting = sum(len(poll.records) for poll in self._polls)
        return waiting + sum(batch.unsettled for batch in self._window)

    def abandon(self) -> None:
        """Report the batches that are not settled; called once the sink is closed."""
        while self._window:
            self._observer.batch_abandoned(self._window.popleft())

    # The assignment listener: the source calls these inside its poll.

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Start to restore the person state of newly assigned partitions."""
        self._components.state_store.assign(self._state_partitions.numbers(partitions))
        self._update_backpressure()

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle the batches with records of these partitions, as far as time allows."""
        leaving = set(partitions)
        deadline = self._drain_deadline()
        while any(leaving & batch.partitions for batch in self._window) and not deadline.over():
            self._run_without_intake()
        if self._stopping:
            self._stop_deadline = deadline

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Leave the unsettled records of revoked partitions to their new owner."""
        revoked = frozenset(partitions)
        self._polls = deque(poll.without(revoked) for poll in self._polls)
        self._components.sink.forget(revoked)
        for batch in self._window:
            batch.forget(revoked)
        assigned = self._state_partitions.numbers(self._source.assigned)
        self._components.state_store.revoke(self._state_partitions.numbers(partitions) - assigned)

    def _poll(self) -> Poll | None:
        if self._backpressure.reasons:
            return self._source.poll(_PAUSED_POLL_SECONDS)
        if self._is_full():
            self._clock.wait(_FULL_WAIT_SECONDS)
            return None
        return self._source.poll(self._settings.kafka.poll_seconds)

    def _can_load(self, poll: Poll) -> bool:
        numbers = self._state_partitions.of(poll.records)
        return all(map(self._components.state_store.ready, numbers))

    def _fetch_schemas(self) -> bool:
        """Fetch the writer schemas of the next poll; False where that has to be tried again."""
        if not self._schema_retry.due:
            return False
        try:
            self._planner.fetch_schemas(self._polls[0].records)
        except UnavailableError as error:
            self._schema_retry.failed()
            self._schemas_unavailable = error.detail
            return False
        self._schema_retry.succeeded()
        self._schemas_unavailable = None
        return True

    def _start(self, poll: Poll) -> Batch:
        """Decode and plan a poll, and start its delivery."""
        with self._timed("decode"):
            decoded = self._planner.decode(poll.records, self._clock.now_ms())
        with self._timed("load"):
            persons = self._components.state_store.load(decoded.keys)
        with self._timed("plan"):
            plan = self._planner.plan(decoded, persons, poll.timed_out)
        rejected = [i for i, end in enumerate(plan.outcomes) if end is Outcome.DEAD_LETTERED]
        self._components.dead_letters.limit.check(len(plan.outcomes), rejected)
        batch = Batch(poll, plan, self._components)
        self._observer.batch_planned(batch)
        return batch

    def _advance(self) -> None:
        """Poll the components, advance every batch, and settle batches from the oldest on."""
        self._components.dead_letters.poll()
        self._components.state_store.poll()
        self._components.repartition.poll()
        may_store = True
        for batch in self._window:
            batch.advance(may_store=may_store)
            may_store = batch.store_started
        while self._window and self._window[0].phase is Phase.SETTLED:
            batch = self._window.popleft()
            revoked = self._source.settle(batch.poll)
            self._observer.batch_settled(batch, revoked)
            if not self._stopping:
                for route, (refused, sent) in batch.refusals.items():
                    self._components.dead_letters.limit.check_refusals(route, refused, sent)

    def _run_without_intake(self) -> None:
        self._advance()
        self._observer.loop_turned(self.unsettled + self._source.waiting_records)
        self._clock.wait(_FULL_WAIT_SECONDS)

    def _is_full(self) -> bool:
        """Return whether the window is full, and keep since when it is.

        It has room for as much again while only other events can show what an inlet fails at.
        """
        unsettled, size = self.unsettled, sum(batch.size_bytes for batch in self._window)
        most = self._settings.kafka.max_uncommitted_records
        if unsettled < most and size < _WINDOW_BYTES:
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = self._clock.monotonic()
        has_reserve = unsettled < 2 * most and size < 2 * _WINDOW_BYTES
        return not (has_reserve and self._components.sink.needs_others)

    def _update_backpressure(self) -> None:
        full, since = self._is_full(), self._full_since
        waited = 0.0 if since is None else self._clock.monotonic() - since
        window = self._window_reason() if full and waited >= _FULL_WINDOW_SECONDS else None
        self._components.sink.set_window_full(full=self._full_since is not None)
        self._backpressure.update(registry=self._schemas_unavailable, window=window)
        self._observer.status_checked(self._backpressure.reasons, state=self._state())

    def _window_reason(self) -> str:
        reason = "the window of batches in progress is full"
        if first := next(iter(self._components.sink.retried), None):
            reason += f": {first.origin} fails alone ({first.route}, {first.cause})"
        return reason

    def _state(self) -> State:
        if self._stopping:
            return State.STOPPING
        if self._components.state_store.restoring:
            return State.RESTORING
        return State.READY if self._source.assigned else State.JOINING

    def _drain_deadline(self) -> Deadline:
        """Return the time for a drain; a rebalance during a stop and the stop share one."""
        return self._stop_deadline or Deadline(self._clock, self._settings.stop.drain_seconds)

    def _close(self) -> bool:
        stop = self._settings.stop
        self._stopping = True
        self._update_backpressure()
        self._source.pause("stopping")
        deadline = self._drain_deadline()
        with self._observer.stop_phase("drain"):
            while self._window and not deadline.over():
                self._run_without_intake()
        with self._observer.stop_phase("commit"):
            confirmed = self._source.close(stop.commit_seconds + stop.close_seconds / 2)
        return confirmed and not self.unsettled

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self._observer.stage_took(stage, self._clock.monotonic() - began)
