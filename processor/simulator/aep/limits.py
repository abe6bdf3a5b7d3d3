"""What an inlet takes (AEP streaming ingestion limits), and the buckets that count it."""

import msgspec

from processor.domain.clock import Clock


class RateLimits(msgspec.Struct, frozen=True):
    """The documented limits; 0 switches a rate off."""

    request_bytes: int = 1_048_576
    requests_per_second: float = 1_000
    messages_per_second: float = 10_000
    sync_validations_per_minute: float = 60
    sync_validation_supported: bool = True
    """False answers 501, as outside the VA7 region."""


class Meter:
    """A token bucket that holds one period's worth."""

    __slots__ = ("_clock", "_left", "_most", "_rate", "_read_at")

    def __init__(self, most: float, per_seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._most = self._left = most
        self._rate = most / per_seconds
        self._read_at = clock.monotonic()

    def take(self, count: float) -> bool:
        """Return True and count it where the bucket still has something.

        A request larger than the bucket passes when the bucket is full, and leaves it in debt.
        """
        if not self._most:
            return True
        now = self._clock.monotonic()
        self._left = min(self._most, self._left + (now - self._read_at) * self._rate)
        self._read_at = now
        if self._left < min(count, self._most):
            return False
        self._left -= count
        return True
