"""One inlet as its lanes share it: the address, the budget and the slots."""

import asyncio

from processor.domain.clock import Clock
from processor.settings import LimitSettings
from processor.sink.budget import RateLimiter
from processor.sink.slots import ConcurrencyLimit


class Inlet:
    """Lets requests to one address through, at its pace and so many at once."""

    def __init__(self, url: str, limits: LimitSettings, clock: Clock) -> None:
        self.url = url
        self.slots = ConcurrencyLimit(limits.max_in_flight)
        self.budget = RateLimiter(limits.requests_per_second, limits.messages_per_second)
        self._clock = clock

    async def enter(self, messages: int) -> None:
        """Wait for a slot and for the budget of a request; to be followed by one `leave`."""
        await self.slots.take()
        try:
            wait = self.budget.reserve(self._clock.monotonic(), messages)
            if wait > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self.slots.give()
            raise

    def leave(self) -> None:
        """Give the slot back."""
        self.slots.give()
