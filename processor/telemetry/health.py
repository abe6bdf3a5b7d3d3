"""Liveness and readiness of a replica, which are independent of each other.

A replica is live while its main loop turns, whatever else is down: restarting a healthy process
because the destination is down would turn an outage into duplicates.
"""

from collections.abc import Sequence
from typing import NamedTuple

from processor.domain.clock import Clock, rfc3339
from processor.telemetry.catalogue import READY
from processor.telemetry.labels import PauseCause, State
from processor.telemetry.metrics import Metrics

_UNREADY = frozenset(
    {
        PauseCause.DEAD_LETTERS,
        PauseCause.STATE,
        PauseCause.REPARTITION,
        PauseCause.CONTROL,
        PauseCause.OPERATOR,
        PauseCause.REJECT_LIMIT,
        PauseCause.GAP,
        PauseCause.TOPICS,
    }
)
"""The causes that make a replica unready: outages, and the pauses that only an operator ends.

An outage of the destination does not: every replica would be unready, and no rollout could bring
the remedy.
"""


_READY = frozenset({State.READY, State.IDLE})


class Pause(NamedTuple):
    """One cause for which intake is paused: why, since when (RFC 3339), how many partitions."""

    cause: PauseCause
    reason: str
    since: str
    partitions: int


class ProbeResult(NamedTuple):
    """The result of a probe, with the state behind it and a sentence for people.

    `since` is when the state began. A replica can be ready while intake is `paused`.
    """

    ok: bool
    state: str
    reason: str
    since: str
    paused: tuple[Pause, ...] = ()


class Health:
    """Written by the loop, read by the server from another thread.

    Every change is one assignment, so that a reader sees either the old or the new value.
    """

    def __init__(self, metrics: Metrics, clock: Clock, live_seconds: float) -> None:
        self._metrics = metrics
        self._clock = clock
        self._live_seconds = live_seconds
        self._beat = clock.monotonic()
        self._beat_ms = clock.now_ms()
        self._state = (State.STARTING, "The processor is starting.")
        self._paused: tuple[Pause, ...] = ()
        self._shown = State.STARTING
        self._since = rfc3339(clock.now_ms())
        self._ready = self._evaluate()

    def beat(self) -> None:
        """Note that the main loop turned."""
        self._beat = self._clock.monotonic()
        self._beat_ms = self._clock.now_ms()

    def set_state(self, state: State, reason: str) -> None:
        """Set the state of the replica, with a sentence that says why."""
        self._state = (state, reason)
        self._ready = self._evaluate()

    def set_paused(self, pauses: Sequence[Pause]) -> None:
        """Set why intake is paused; only some causes make a replica unready."""
        self._paused = tuple(pauses)
        self._ready = self._evaluate()

    def live(self) -> ProbeResult:
        """Return the result of the liveness probe."""
        age = self._clock.monotonic() - self._beat
        since = rfc3339(self._beat_ms)
        if age <= self._live_seconds:
            return ProbeResult(True, "live", f"The main loop turned {age:.1f} s ago.", since)
        sentence = f"The main loop has not turned for {age:.0f} s."
        return ProbeResult(False, "stalled", sentence, since)

    def ready(self) -> ProbeResult:
        """Return the result of the readiness probe, which is for rollouts and nothing else."""
        return self._ready

    def _evaluate(self) -> ProbeResult:
        state, reason = self._state
        if state in _READY and any(pause.cause in _UNREADY for pause in self._paused):
            state = State.PAUSED
        if self._paused and (state is State.PAUSED or state in _READY):
            causes = "; ".join(f"{pause.cause}: {pause.reason}" for pause in self._paused)
            reason = f"Intake is paused: {causes}."
        if state is not self._shown:
            self._shown, self._since = state, rfc3339(self._clock.now_ms())
        for each in State:
            self._metrics.gauge(READY, each).set(each is state)
        return ProbeResult(state in _READY, state, reason, self._since, self._paused)
