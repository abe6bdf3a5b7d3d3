"""Bounded waiting on something real; never a bare sleep."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from processor.domain.clock import Deadline, SystemClock

Seen = TypeVar("Seen")


class NeverHappenedError(AssertionError):
    """What a test waited for did not come to pass in time."""


def until(
    look: Callable[[], Seen], *, seconds: float, what: str, every: float = 0.05, tell: object = ""
) -> Seen:
    """Return the first true value of `look()`; raise NeverHappenedError after `seconds`.

    `tell` is shown beside `what` when it never happened; a function is called for it.
    """
    deadline, pause = Deadline(SystemClock(), seconds), Event()
    while not (seen := look()):
        if deadline.over():
            story = tell() if callable(tell) else tell
            raise NeverHappenedError(f"not within {seconds:g} s: {what} {story}")
        pause.wait(every)
    return seen
