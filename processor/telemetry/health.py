"""Liveness and readiness of a replica, which are independent of each other.

A replica is live while its main loop turns, whatever else is down: restarting a healthy process
because the destination is down would turn an outage into duplicates.
"""

from collections.abc import Mapping
from typing import NamedTuple

from processor.domain.clock import Clock
from processor.domain.errors import StopCause
from processor.telemetry.catalogue import READY, State
from processor.telemetry.metrics import Metrics

_UNREADY = frozenset(
    {"dead_letters", "state", "repartition", "control", "operator", *map(str, StopCause)}
)
"""The parts whose outage makes a replica unready, and the pauses that only an operator ends.

An outage of the destination does not: every replica would be unready, and no rollout could bring
the remedy.
"""


class ProbeResult(NamedTuple):
    """The result of a probe, with the state behind it and a sentence for people."""

    ok: bool
    state: str
    reason: str


class Health:
    """Written by the loop, read by the server from another thread.

    Every change is one assignment, so that a reader sees either the old or the new value.
    """

    def __init__(self, metrics: Metrics, clock: Clock, live_seconds: float) -> None:
        self._metrics = metrics
        self._clock = clock
        self._live_seconds = live_seconds
        self._beat = clock.monotonic()
        self._state = (State.STARTING, "The processor is starting.")
        self._paused = ""
        self._ready = self._evaluate()

    def beat(self) -> None:
        """Note that the main loop turned."""
        self._beat = self._clock.monotonic()

    def set_state(self, state: State, reason: str) -> None:
        """Set the state of the replica, with a sentence that says why."""
        self._state = (state, reason)
        self._ready = self._evaluate()

    def set_paused(self, reasons: Mapping[str, str]) -> None:
        """Set why intake is paused, by part; only some parts make a replica unready."""
        self._paused = "; ".join(reason for part, reason in reasons.items() if part in _UNREADY)
        self._ready = self._evaluate()

    def live(self) -> ProbeResult:
        """Return the result of the liveness probe."""
        age = self._clock.monotonic() - self._beat
        if age <= self._live_seconds:
            return ProbeResult(True, "live", f"The main loop turned {age:.1f} s ago.")
        return ProbeResult(False, "stalled", f"The main loop has not turned for {age:.0f} s.")

    def ready(self) -> ProbeResult:
        """Return the result of the readiness probe, which is for rollouts and nothing else."""
        return self._ready

    def _evaluate(self) -> ProbeResult:
        state, reason = self._state
        if state is State.READY and self._paused:
            state, reason = State.PAUSED, f"Intake is paused: {self._paused}."
        for each in State:
            self._metrics.gauge(READY, each).set(each is state)
        return ProbeResult(state is State.READY, state, reason)
