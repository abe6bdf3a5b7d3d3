"""Is the loop alive, and is the replica ready; two questions that never share an answer.

Alive means that the main loop turns, and nothing else: restarting a healthy process because the
destination is down would turn an outage into duplicates.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from processor.domain.clock import Clock
from processor.telemetry.metrics import Metrics

_UNREADY = frozenset({"dead_letters", "state", "forward"})


class State(StrEnum):
    """Where a replica stands; the closed values of `cai_ready{reason}`."""

    STARTING = "starting"
    JOINING = "joining"
    """No partition is assigned yet."""
    RESTORING = "restoring"
    """State is being read back from the changelog."""
    PAUSED = "paused"
    """Letters, state or facts cannot be written, so nothing is taken in."""
    STOPPING = "stopping"
    READY = "ready"


class ProbeResult(NamedTuple):
    """The answer to a probe: yes or no, the state behind it, and a sentence for people."""

    ok: bool
    state: str
    reason: str


class Health:
    """Told by the loop, asked by the server from another thread.

    Every change is one assignment, so that a reader sees either the old or the new.
    """

    def __init__(self, metrics: Metrics, clock: Clock, live_seconds: float) -> None:
        self._metrics = metrics
        self._clock = clock
        self._live_seconds = live_seconds
        self._beat = clock.monotonic()
        self._stands = (State.STARTING, "The processor is starting.")
        self._held = ""
        self._ready = self._judge()

    def beat(self) -> None:
        """Hear that the main loop turned."""
        self._beat = self._clock.monotonic()

    def becomes(self, state: State, reason: str) -> None:
        """Hear where the replica stands now, with a sentence that says why."""
        self._stands = (state, reason)
        self._ready = self._judge()

    def paused(self, causes: Mapping[str, str]) -> None:
        """Hear what intake is held for, by part; only some parts make a replica unready.

        A destination that is down does not: every replica would be unready, and no rollout could
        bring the cure.
        """
        self._held = "; ".join(reason for part, reason in causes.items() if part in _UNREADY)
        self._ready = self._judge()

    def live(self) -> ProbeResult:
        """Answer the liveness probe."""
        age = self._clock.monotonic() - self._beat
        if age <= self._live_seconds:
            return ProbeResult(True, "live", f"The main loop turned {age:.1f} s ago.")
        return ProbeResult(False, "stalled", f"The main loop has not turned for {age:.0f} s.")

    def ready(self) -> ProbeResult:
        """Answer the readiness probe; it gates rollouts and nothing else."""
        return self._ready

    def _judge(self) -> ProbeResult:
        state, reason = self._stands
        if state is State.READY and self._held:
            state, reason = State.PAUSED, f"Intake is held: {self._held}."
        for each in State:
            self._metrics.gauge("ready", each).set(each is state)
        return ProbeResult(state is State.READY, state, reason)
