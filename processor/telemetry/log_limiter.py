"""Limits repeated log lines to one in ten seconds, with the number of suppressed ones."""

import logging

import structlog

from processor.domain.clock import Clock

_SECONDS = 10.0


class LogLimiter:
    """Lets one line through every `seconds` for each key."""

    def __init__(self, clock: Clock, seconds: float = _SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def due(self, key: str, suppressed: int = 0) -> int | None:
        """Return how many lines of a key were suppressed since the last; None to suppress it.

        The line stands for itself and `suppressed` others that an earlier limiter suppressed.
        """
        now = self._clock.monotonic()
        last = self._last.get(key)
        if last is not None and now - last < self._seconds:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1 + suppressed
            return None
        self._last[key] = now
        return self._suppressed.pop(key, 0) + suppressed


def client_logger(part: str, clock: Clock) -> logging.Logger:
    """Return a logger for a client library: its lines become structured ones, and are limited."""
    # Not from the registry of loggers: each client has its own, and nothing propagates.
    logger = logging.Logger(f"processor.{part}")  # noqa: LOG001
    logger.addHandler(_Relay(part, LogLimiter(clock)))
    return logger


class _Relay(logging.Handler):
    def __init__(self, part: str, limiter: LogLimiter) -> None:
        super().__init__()
        self._part = part
        self._limiter = limiter
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        # A client calls this from its own thread or poll, where an exception would do harm.
        try:
            facility = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
            suppressed = self._limiter.due(facility)
            if suppressed is not None:
                self._log.warning(
                    "The client library has logged an error.",
                    code="client_library_message",
                    part=self._part,
                    facility=facility,
                    error=record.getMessage(),
                    suppressed=suppressed,
                )
        except Exception:  # noqa: BLE001  as above
            self.handleError(record)
