"""The budget of an inlet: requests a second and messages a second, each evenly paced."""

_BURST_SECONDS = 0.1
_WINDOW_SECONDS = 1.0


class TokenBucket:
    """An even pace: reservations are granted in the order they are made, each with its wait.

    A reservation may be larger than the burst; those after it wait the longer. Over any span of
    seconds no more than rate * (span + burst) plus one reservation is granted.
    """

    __slots__ = ("_busy_until", "_rate", "_spent", "_window", "used")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._busy_until = float("-inf")
        self._window = float("-inf")
        self._spent = 0.0
        self.used = 0.0
        """Share of the rate in use over the last full second."""

    def reserve(self, now: float, amount: float) -> float:
        """Take so much of the budget and return the seconds to wait before using it."""
        start = max(self._busy_until, now - _BURST_SECONDS)
        self._busy_until = start + amount / self._rate
        self._spent += amount
        return max(0.0, start - now)

    def tick(self, now: float) -> None:
        """Bring `used` up to date; called about once a second."""
        span = max(now - self._window, _WINDOW_SECONDS)
        self.used = self._spent / (self._rate * span)
        self._window = now
        self._spent = 0.0


class RateLimiter:
    """Both paces of one inlet, shared by the routes that lead to it."""

    def __init__(self, requests_per_second: float, messages_per_second: float) -> None:
        self.requests = TokenBucket(requests_per_second)
        self.messages = TokenBucket(messages_per_second)

    def reserve(self, now: float, messages: int) -> float:
        """Reserve one request of so many messages and return the seconds to wait for it."""
        return max(self.requests.reserve(now, 1), self.messages.reserve(now, messages))

    def tick(self, now: float) -> None:
        """Bring the shares in use up to date."""
        self.requests.tick(now)
        self.messages.tick(now)
