"""The clock: wall time for timestamps, monotonic time for waiting."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time; tests set one by hand."""

    def now_ms(self) -> int:
        """Return wall time as epoch milliseconds (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back; only differences mean something."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return wall time as epoch milliseconds (UTC)."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never step back; only differences mean something."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)  # noqa: TID251  the only place that may


class Deadline:
    """A number of seconds that several steps share."""

    __slots__ = ("_clock", "_end")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that remain, never below zero."""
        return max(0.0, self._end - self._clock.monotonic())

    def over(self) -> bool:
        """Return True once no time remains."""
        return self.left() == 0.0


def rfc3339(epoch_ms: int) -> str:
    """Render epoch milliseconds as RFC 3339 UTC with `Z`, without a fraction where it is zero."""
    seconds, ms = divmod(epoch_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"
