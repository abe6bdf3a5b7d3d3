"""How long to wait: full jitter that doubles to a cap, and what `Retry-After` asks for."""

import random
import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\d{1,18}(?:\.\d{1,9})?", re.ASCII)
_DOUBLINGS = 30


class Backoff:
    """Full jitter: a delay below a ceiling that doubles from `first` to `most` seconds."""

    __slots__ = ("_first", "_most", "_uniform")

    def __init__(
        self,
        first: float,
        most: float,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._most = most
        self._uniform = uniform

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, the first being 0."""
        return self._uniform(0.0, min(self._most, self._first * 2 ** min(failures, _DOUBLINGS)))

    def spread(self, seconds: float) -> float:
        """Return a fixed delay with up to a tenth on top, so that replicas do not come in step."""
        return seconds * self._uniform(1.0, 1.1)


def asked_delay(header: str | None, now_ms: int, cap: float) -> float | None:
    """Return what a `Retry-After` header asks for, in seconds, at most `cap`.

    Source: RFC 9110 section 10.2.3, seconds or an HTTP date. None where there is none, where it
    makes no sense, and where it asks for no wait at all: then the sender's own back-off holds.
    """
    text = (header or "").strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now_ms)
    return min(seconds, cap) if seconds > 0 else None


def _seconds_until(text: str, now_ms: int) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp() - now_ms / 1000
