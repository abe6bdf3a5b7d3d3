"""The limit that stops the house rather than emptying a topic into the dead-letter topic."""

from collections import deque
from collections.abc import Sequence

from processor.errors import StopError
from processor.settings import DeadLetterSettings

__all__ = ["Guard"]


class Guard:
    """Counts rejected records in a row, and their share of the last ones.

    The share is judged once a whole window has been seen, so that a bad start alone stops nothing.
    What the inlet refuses joins the share later than its records did, and has a row of its own:
    batches of which it refused everything.
    """

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        self._row = 0
        self._refused_rows: dict[str, int] = {}
        self._window: deque[tuple[int, int]] = deque()
        self._seen = 0
        self._rejected = 0

    def note(self, count: int, rejected: Sequence[int]) -> None:
        """Take in a batch: how many records, and the places of the rejected ones, ascending.

        Raises StopError where a limit is passed.
        """
        self._count_row(count, rejected)
        self._count_share(count, len(rejected))

    def refused(self, route: str, refused: int, sent: int) -> None:
        """Take in what an inlet said of a batch: of so many records sent, it refused so many.

        The records themselves were noted before. Raises StopError where a limit is passed.
        """
        row = self._refused_rows.get(route, 0)
        if sent:
            row = self._refused_rows[route] = row + refused if refused == sent else 0
        limit = self._settings.stop_after_consecutive
        if limit and row >= limit:
            raise StopError(
                f"{row} records in a row were refused by the inlet of route {route}: stopping, as "
                "dead_letter.stop_after_consecutive says."
            )
        if refused:
            self._count_share(0, refused)

    def _count_row(self, count: int, rejected: Sequence[int]) -> None:
        limit = self._settings.stop_after_consecutive
        previous = -1
        for place in rejected:
            self._row = self._row + 1 if place == previous + 1 else 1
            previous = place
            if limit and self._row >= limit:
                raise StopError(
                    f"{self._row} records in a row were rejected: stopping, as "
                    "dead_letter.stop_after_consecutive says."
                )
        if previous != count - 1:
            self._row = 0

    def _count_share(self, count: int, rejected: int) -> None:
        settings = self._settings
        self._window.append((count, rejected))
        self._seen += count
        self._rejected += rejected
        while self._seen - self._window[0][0] >= settings.stop_window:
            old_count, old_rejected = self._window.popleft()
            self._seen -= old_count
            self._rejected -= old_rejected
        if not settings.stop_ratio or self._seen < settings.stop_window:
            return
        if self._rejected > settings.stop_ratio * self._seen:
            raise StopError(
                f"{self._rejected} of the last {self._seen} records were rejected: stopping, as "
                "dead_letter.stop_ratio says."
            )
