"""Log lines that would repeat without end: one in a while, with how many were kept back."""

import logging

import structlog

from processor.domain.clock import Clock

_SECONDS = 10.0


class LogLimiter:
    """Says whether a line of this kind is due; one is, every `seconds` for each key."""

    def __init__(self, clock: Clock, seconds: float = _SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._said: dict[str, float] = {}
        self._kept_back: dict[str, int] = {}

    def due(self, key: str) -> int | None:
        """Return how many lines of this key were kept back since the last; None: keep this back."""
        now = self._clock.monotonic()
        last = self._said.get(key)
        if last is not None and now - last < self._seconds:
            self._kept_back[key] = self._kept_back.get(key, 0) + 1
            return None
        self._said[key] = now
        return self._kept_back.pop(key, 0)


def client_logger(part: str, clock: Clock) -> logging.Logger:
    """Return a logger to hand to a foreign client: its lines become ours, seldom and structured."""
    # Not from the registry: a second client of this name has its own, and nothing propagates.
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
                    "The client library has something to say.",
                    part=self._part,
                    facility=facility,
                    words=record.getMessage(),
                    suppressed=suppressed,
                )
        except Exception:  # noqa: BLE001  see above
            self.handleError(record)
