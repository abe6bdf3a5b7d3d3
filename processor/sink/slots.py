"""How many requests may be under way: more while the inlet keeps up, fewer while it does not."""

import asyncio
from collections import deque

_START = 4
_SLOW = 2.0
_SLOWER = 0.9
_FAILED = 0.5
_MEMORY = 0.1


class ConcurrencyLimit:
    """Additive increase, multiplicative decrease, between 1 and `most`; first come, first served.

    An answer twice as slow as usual, or a failure, takes slots away; a good one while all slots are
    in use adds a fraction of one. What is usual follows what is seen, so an inlet that has become
    slow for good is not starved for good.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._level = float(min(most, _START))
        self._usual: float | None = None
        self._queue: deque[asyncio.Future[None]] = deque()
        self.used = 0

    @property
    def limit(self) -> int:
        """The requests that may be under way now."""
        return int(self._level)

    async def take(self) -> None:
        """Wait for a slot and take it."""
        if self.used < self.limit and not self._queue:
            self.used += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()
            raise

    def give(self) -> None:
        """Give a slot back; the first in the queue gets it."""
        self.used -= 1
        while self._queue and self.used < self.limit:
            turn = self._queue.popleft()
            if not turn.done():
                self.used += 1
                turn.set_result(None)

    def learn(self, seconds: float, *, good: bool) -> None:
        """Take account of an answer; to be called before its slot is given back."""
        if not good:
            self._level = max(1.0, self._level * _FAILED)
            return
        usual = self._usual or seconds
        if seconds > _SLOW * usual:
            self._level = max(1.0, self._level * _SLOWER)
        elif self.used >= self.limit:
            self._level = min(float(self._most), self._level + 1.0 / self._level)
        self._usual = usual + _MEMORY * (seconds - usual)
