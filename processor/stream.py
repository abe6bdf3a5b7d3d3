"""The loop: one poll is one batch; batches are delivered side by side and settle in order.

    poll -> fetch schemas -> decode -> load state -> plan
         -> deliver -> dead-letter -> store state -> settle -> commit

One thread runs the loop and does the work of the CPU; a short, ordered window of batches is in
progress so that it works while the network waits. Nothing here sleeps or blocks for longer than a
poll. A record's way: `run_once`, `Source.poll`, `Planner.decode`, `StateStore.load`,
`Planner.plan`, `Batch.advance`, `Source.settle`, `Source.commit`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from processor.backpressure import Backpressure
from processor.batch import Batch, BatchObserver, Phase
from processor.components import Components, Poll
from processor.control.pauses import Pauses
from processor.control.skips import Skips
from processor.control.suspect_histories import SuspectHistories
from processor.domain.clock import Clock, Deadline
from processor.domain.errors import StopError, UnavailableError
from processor.domain.outcome import Outcome
from processor.domain.record import Partition
from processor.domain.retry import Retry, RetryPolicy
from processor.planner import Planner
from processor.settings import Settings
from processor.state.partitions import StatePartitions
from processor.telemetry.labels import LoopStage, PauseCause, State

_FULL_WINDOW_SECONDS = 2.0
"""A full window pauses intake only after this time: pausing throws prefetched records away."""
_WINDOW_BYTES = 64 << 20
_PAUSED_POLL_SECONDS = 0.05
_RESTORING_POLL_SECONDS = 0.01
"""While a partition is restored, idle others must not slow that down."""
_FULL_WAIT_SECONDS = 0.002
_SLOW_REGISTRY_SECONDS = 1.0
"""Schemas that are being fetched pause intake only after so long."""
_CONTROL_SECONDS = 0.1
"""Between looks at the pauses and skips in the control store."""
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
        self._pauses = Pauses(components.control, components.source, clock)
        self._skips = Skips(components.control, components.source, clock)
        self._suspects = SuspectHistories(components.control, clock)
        self._control_due = Deadline(clock, 0)
        self._state_partitions = StatePartitions(settings)
        self._backpressure = Backpressure(components, self._state_partitions)
        self._schema_retry = Retry(_SCHEMA_RETRY, clock)
        self._schemas_due: Deadline | None = None
        self._schemas_unavailable: str | None = None
        self._full_since: float | None = None
        self._stopping = False
        self._stop_deadline: Deadline | None = None

    def stop(self) -> None:
        """Ask the loop to end after this turn."""
        self._stopping = True

    def run(self, until: Callable[[], bool] = bool) -> bool:
        """Run until `stop` is called or `until` returns True, then settle, commit and leave.

        Returns whether everything that was consumed is settled. At a limit of the settings intake
        is paused, and what is in progress is settled. Any exception is a fault of the program:
        nothing more is committed.
        """
        self._source.start(self)
        while not self._stopping and not until():
            self.run_once()
        return self._close()

    def run_once(self) -> None:
        """Run one turn: poll unless the window is full, start, advance and settle batches."""
        self._follow_control()
        self._update_backpressure()
        with self._timed(LoopStage.POLL):
            poll = self._poll_or_pause()
        if poll is not None and poll.records:
            self._polls.append(poll)
        while (loadable := self._take_loadable()) is not None:
            if not (self._fetch_schemas(loadable) and self._start(loadable)):
                self._polls.appendleft(loadable)
                break
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
        polls = (poll.without(revoked) for poll in self._polls)
        self._polls = deque(poll for poll in polls if poll.records)
        self._components.sink.forget(revoked)
        for batch in self._window:
            batch.forget(revoked)
        assigned = self._state_partitions.numbers(self._source.assigned)
        self._components.state_store.revoke(self._state_partitions.numbers(partitions) - assigned)
        self._update_backpressure()

    def _poll(self) -> Poll | None:
        if self._backpressure.all_paused:
            return self._source.poll(_PAUSED_POLL_SECONDS)
        if self._is_full():
            self._clock.wait(_FULL_WAIT_SECONDS)
            return None
        seconds = self._settings.kafka.poll_seconds
        restoring = self._components.state_store.restoring
        return self._source.poll(_RESTORING_POLL_SECONDS if restoring else seconds)

    def _poll_or_pause(self) -> Poll | None:
        """Poll; where records are gone and the settings say stop, pause until it is accepted."""
        try:
            return self._poll()
        except StopError as error:
            self._pauses.stop(error)
            return None

    def _follow_control(self) -> None:
        """Obey what is in the control store: pauses that began or ended, gaps to pass, skips."""
        self._components.control.poll()
        if not self._control_due.over():
            return
        self._control_due = Deadline(self._clock, _CONTROL_SECONDS)
        if PauseCause.REJECT_LIMIT in self._pauses.refresh():
            self._components.dead_letters.limit.reset()
        gaps = self._pauses.take_accepted_gaps(self._source.assigned)
        if gaps:
            self._source.accept_gaps(gaps)
        self._pauses.delete_passed(self._source.assigned)
        new = self._skips.refresh()
        if new:
            self._components.sink.skip(new)
        if self._suspects.refresh(self._components.sink.retried):
            self._components.sink.recall(self._suspects.known)

    def _take_loadable(self) -> Poll | None:
        """Remove and return the first poll, or a part of one, whose person state can be loaded.

        What has to wait stays in its place: the order within a partition is kept. None is taken
        while intake is paused at the limit of rejects.
        """
        if PauseCause.REJECT_LIMIT in self._pauses.reasons:
            return None
        for index, poll in enumerate(self._polls):
            numbers = self._state_partitions.of(poll.records)
            unready = {each for each in numbers if not self._components.state_store.ready(each)}
            if not unready:
                del self._polls[index]
                return poll
            partitions = {Partition(each.topic, each.partition) for each in poll.records}
            held = self._state_partitions.with_state(partitions, unready)
            if held != partitions:
                self._polls[index] = poll.without(partitions - held)
                return poll.without(held)
        return None

    def _fetch_schemas(self, poll: Poll) -> bool:
        """Return whether the writer schemas of a poll are there; start to fetch them."""
        if not self._schema_retry.due:
            return False
        try:
            if not self._planner.fetch_schemas(self._skips.without(poll.records)):
                self._note_fetching()
                return False
        except UnavailableError as error:
            self._schema_retry.failed()
            self._schemas_unavailable = error.detail
            return False
        self._schema_retry.succeeded()
        self._schemas_due = self._schemas_unavailable = None
        return True

    def _note_fetching(self) -> None:
        """Pause intake where schemas are being fetched for long; another reason stays."""
        self._schemas_due = self._schemas_due or Deadline(self._clock, _SLOW_REGISTRY_SECONDS)
        if self._schemas_due.over() and self._schemas_unavailable is None:
            self._schemas_unavailable = "schemas are still being fetched from the registry"

    def _start(self, poll: Poll) -> bool:
        """Decode and plan a poll, and start its delivery; False where it has hit a limit."""
        skipped = self._skips.rejects(poll.records)
        with self._timed(LoopStage.DECODE):
            decoded = self._planner.decode(poll.records, self._clock.now_ms(), skipped)
        with self._timed(LoopStage.LOAD):
            persons = self._components.state_store.load(decoded.keys)
        with self._timed(LoopStage.PLAN):
            plan = self._planner.plan(decoded, persons, poll.timed_out)
        if not self._passes_limit(poll, plan.outcomes):
            return False
        batch = Batch(poll, plan, self._components)
        self._window.append(batch)
        self._observer.batch_planned(batch)
        return True

    def _passes_limit(self, poll: Poll, outcomes: Sequence[Outcome]) -> bool:
        """Count the rejects of a batch; pause where they are too many and not accepted."""
        limit = self._components.dead_letters.limit
        rejected = [i for i, end in enumerate(outcomes) if end is Outcome.DEAD_LETTERED]
        try:
            limit.check(len(outcomes), rejected)
        except StopError as error:
            if not self._pauses.accepts(poll.records):
                self._pauses.stop(error, poll.records)
                return False
            limit.reset()
        return True

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
            batch = self._window[0]
            revoked = self._source.settle(batch.poll)
            self._observer.batch_settled(batch, revoked)
            self._skips.settled(batch.poll.records, batch.rejected, revoked)
            self._suspects.settled(batch.poll.records, revoked)
            self._window.popleft()  # only now: a fault before it must list the batch
            self._check_refusals(batch)

    def _check_refusals(self, batch: Batch) -> None:
        try:
            for route, (refused, sent) in batch.refusals.items():
                self._components.dead_letters.limit.check_refusals(route, refused, sent)
        except StopError as error:
            self._pauses.stop(error)

    def _run_without_intake(self) -> None:
        self._components.control.poll()
        self._advance()
        self._observer.loop_turned(self.unsettled + self._source.waiting_records)
        self._clock.wait(_FULL_WAIT_SECONDS)

    def _is_full(self) -> bool:
        """Return whether the window is full, and keep since when it is.

        It has room for as much again, and for a poll an attempt at least, while only other events
        can show what an inlet fails at.
        """
        unsettled, size = self.unsettled, sum(batch.size_bytes for batch in self._window)
        most = self._settings.kafka.max_uncommitted_records
        if unsettled < most and size < _WINDOW_BYTES:
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = self._clock.monotonic()
        kafka, retry = self._settings.kafka, self._settings.aep.retry
        reserve = max(most, retry.undeliverable_attempts * kafka.poll_records)
        has_reserve = unsettled < most + reserve and size < 2 * _WINDOW_BYTES
        return not (has_reserve and self._components.sink.needs_others)

    def _update_backpressure(self) -> None:
        full, since = self._is_full(), self._full_since
        waited = 0.0 if since is None else self._clock.monotonic() - since
        window = self._window_reason() if full and waited >= _FULL_WINDOW_SECONDS else None
        self._components.sink.set_window_full(full=self._full_since is not None)
        registry = self._schemas_unavailable if self._polls else None  # a revoke may empty it
        self._backpressure.update(registry=registry, window=window, requested=self._pauses.reasons)
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
        if self._source.assigned:
            return State.READY
        return State.IDLE if self._source.is_member else State.JOINING

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
        self._suspects.refresh(self._components.sink.retried, at_once=True)
        with self._observer.stop_phase("commit"):
            confirmed = self._source.close(stop.commit_seconds + stop.close_seconds / 2)
        return confirmed and not self.unsettled

    @contextmanager
    def _timed(self, stage: LoopStage) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self._observer.stage_took(stage, self._clock.monotonic() - began)
