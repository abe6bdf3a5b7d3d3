"""The loop: one poll gives one batch; batches walk the corridor and settle in order.

    poll -> learn -> survey -> recall -> plan
         -> deliver -> dead-letter -> remember -> settle -> commit

One thread turns the loop and does the CPU's work; a short, ordered window of batches is under way
so that it works while the network waits. Nothing here sleeps or blocks for longer than a poll.

What intake is held for: each part of the world that can not keep up, and why.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from processor.batch import Batch, BatchObserver, Components, Phase
from processor.components import Poll
from processor.domain.clock import Clock, Deadline
from processor.domain.errors import StopError, UnavailableError
from processor.domain.outcome import Outcome
from processor.domain.record import Partition
from processor.planner import Planner
from processor.settings import Settings
from processor.state.partitions import StatePartitions
from processor.telemetry.health import State


class Backpressure:
    """Asks the doors and the loop why intake must wait, and holds or releases the source by it."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self.causes: Mapping[str, str] = {}

    def follow(self, *, registry: str | None, window: str | None) -> None:
        """Look again; `registry` and `window` are the loop's own reasons."""
        components = self._components
        asked = {
            "destination": components.sink.unavailable_reason,
            "dead_letters": components.dead_letters.unavailable_reason,
            "state": self._state(),
            "forward": components.repartition.unavailable_reason,
            "commit": components.source.commit_overdue,
            "registry": registry,
            "window": window,
        }
        causes = {part: reason for part, reason in asked.items() if reason}
        for part in self.causes.keys() - causes.keys():
            components.source.resume(part)
        for part in causes.keys() - self.causes.keys():
            components.source.pause(part)
        self.causes = causes

    def _state(self) -> str | None:
        state_store = self._components.state_store
        return state_store.unavailable_reason or (
            "restoring what is known" if state_store.restoring else None
        )


_FULL_PATIENCE_SECONDS = 2.0
"""A full window is first waited for without polling: pausing throws prefetched records away."""
_WINDOW_BYTES = 64 << 20
_LEARN_AGAIN_SECONDS = 1.0
_HELD_POLL_SECONDS = 0.05
_FULL_WAIT_SECONDS = 0.002


class Stream:
    """Turns the loop until asked to stop; owns the window of batches under way.

    `stop()` may be called from a signal handler: it only sets a flag. The stream follows the
    source's assignment: partitions that leave are drained first, as far as time allows.
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
        self._arrived: deque[Poll] = deque()
        self._window: deque[Batch] = deque()
        self._holds = Backpressure(components)
        self._homes = StatePartitions(settings)
        self._outage: str | None = None
        self._learn_at = 0.0
        self._full_since: float | None = None
        self._stopping = False
        self._budget: Deadline | None = None

    def stop(self) -> None:
        """Ask the loop to end after this turn."""
        self._stopping = True

    def run(self, until: Callable[[], bool] = bool) -> bool:
        """Turn until stopped, or until a question asked each turn is answered with yes; then close.

        Returns whether all that was taken in is settled.
        Raises StopError where a limit the operator set was reached; what was begun before it is
        settled. Anything else that is raised is ours to answer for: nothing more is committed.
        """
        self._source.start(self)
        try:
            while not self._stopping and not until():
                self.turn()
        except StopError:
            self._close()
            raise
        return self._close()

    def turn(self) -> None:
        """Do one round: serve the doors, take a poll if there is room, move the window on."""
        self._hold_or_release()
        with self._busy("poll"):
            polled = self._poll()
        self._take(polled)
        self._move_on()
        self._source.commit()
        self._observer.turned(self.unsettled + self._source.waiting_records)

    @property
    def unsettled(self) -> int:
        """Return how many records are under way."""
        waiting = sum(len(polled.records) for polled in self._arrived)
        return waiting + sum(batch.unsettled for batch in self._window)

    def abandon(self) -> None:
        """Tell of what was not settled, once the sink is closed: no answer comes any more."""
        while self._window:
            self._observer.abandoned(self._window.popleft())

    # What the source tells, inside its poll.

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Let memory be restored for what is ours from now on."""
        self._components.state_store.assign(self._homes.numbers(partitions))
        self._hold_or_release()

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle what is under way for partitions that are leaving, as far as time allows."""
        leaving = set(partitions)
        deadline = self._drain_budget()
        while any(leaving & batch.partitions for batch in self._window) and not deadline.over():
            self._serve()
        if self._stopping:
            self._budget = deadline

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Leave what is not settled of partitions that are ours no more to their new owner."""
        left = frozenset(partitions)
        self._arrived = deque(polled.without(left) for polled in self._arrived)
        self._components.sink.forget(left)
        for batch in self._window:
            batch.forget(left)
        kept = self._homes.numbers(self._source.assigned)
        self._components.state_store.revoke(self._homes.numbers(partitions) - kept)

    def _poll(self) -> Poll | None:
        if self._holds.causes:
            return self._source.poll(_HELD_POLL_SECONDS)
        if self._full():
            self._clock.wait(_FULL_WAIT_SECONDS)
            return None
        return self._source.poll(self._settings.kafka.poll_seconds)

    def _take(self, polled: Poll | None) -> None:
        """Start a batch; where a writer schema can not be had now, keep the poll and try again."""
        if polled is not None and polled.records:
            self._arrived.append(polled)
        while self._arrived and self._loadable(self._arrived[0]) and self._learned():
            self._window.append(self._start(self._arrived.popleft()))

    def _loadable(self, polled: Poll) -> bool:
        return all(map(self._components.state_store.ready, self._homes.of(polled.records)))

    def _learned(self) -> bool:
        """Have the writer schemas of the next poll fetched; False while that can not be done."""
        if self._clock.monotonic() < self._learn_at:
            return False
        try:
            self._planner.fetch_schemas(self._arrived[0].records)
        except UnavailableError as error:
            self._learn_at = self._clock.monotonic() + _LEARN_AGAIN_SECONDS
            self._outage = error.detail
            return False
        self._outage = None
        return True

    def _start(self, polled: Poll) -> Batch:
        with self._busy("decode"):
            decoded = self._planner.decode(polled.records, self._clock.now_ms())
        with self._busy("load"):
            known = self._components.state_store.load(decoded.keys)
        with self._busy("plan"):
            plan = self._planner.plan(decoded, known, polled.timed_out)
        dead = [at for at, outcome in enumerate(plan.outcomes) if outcome is Outcome.DEAD_LETTERED]
        self._components.dead_letters.guard.note(len(plan.outcomes), dead)
        batch = Batch(polled, plan, self._components)
        self._observer.planned(batch)
        return batch

    def _move_on(self) -> None:
        """Serve the doors, let every batch move on, settle from the front what is done."""
        self._components.dead_letters.poll()
        self._components.state_store.poll()
        self._components.repartition.poll()
        may_store = True
        for batch in self._window:
            batch.advance(may_store=may_store)
            may_store = batch.remembered
        while self._window and self._window[0].phase is Phase.SETTLED:
            batch = self._window.popleft()
            gone = self._source.settle(batch.polled)
            self._observer.settled(batch, gone)
            if not self._stopping:
                for route, (refused, sent) in batch.refusals.items():
                    self._components.dead_letters.guard.refused(route, refused, sent)

    def _serve(self) -> None:
        """Turn without taking anything in."""
        self._move_on()
        self._observer.turned(self.unsettled + self._source.waiting_records)
        self._clock.wait(_FULL_WAIT_SECONDS)

    def _full(self) -> bool:
        """Return whether the window has no room, and note since when."""
        room = self.unsettled < self._settings.kafka.max_uncommitted_records
        if room and sum(batch.size_bytes for batch in self._window) < _WINDOW_BYTES:
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = self._clock.monotonic()
        return True

    def _hold_or_release(self) -> None:
        self._holds.follow(registry=self._outage, window=self._stuck())
        self._observer.stands(self._holds.causes, state=self._state())

    def _state(self) -> State:
        if self._stopping:
            return State.STOPPING
        if self._components.state_store.restoring:
            return State.RESTORING
        return State.READY if self._source.assigned else State.JOINING

    def _stuck(self) -> str | None:
        since = self._full_since if self._full() else None
        stuck = since is not None and self._clock.monotonic() - since >= _FULL_PATIENCE_SECONDS
        return "the window of batches under way is full" if stuck else None

    def _drain_budget(self) -> Deadline:
        """Return what a drain may take; a rebalance in the midst of a stop shares the stop's."""
        return self._budget or Deadline(self._clock, self._settings.stop.drain_seconds)

    def _close(self) -> bool:
        stop = self._settings.stop
        self._stopping = True
        self._hold_or_release()
        self._source.pause("stopping")
        deadline = self._drain_budget()
        with self._observer.stopping("drain"):
            while self._window and not deadline.over():
                self._serve()
        with self._observer.stopping("commit"):
            confirmed = self._source.close(stop.commit_seconds + stop.close_seconds / 2)
        return confirmed and not self.unsettled

    @contextmanager
    def _busy(self, stage: str) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self._observer.busy(stage, self._clock.monotonic() - began)
