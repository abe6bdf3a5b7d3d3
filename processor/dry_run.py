"""A sink that writes events as JSON lines instead of sending them: the right door of a dry run."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TextIO

import msgspec

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reject
from processor.domain.record import Partition


class _Written(msgspec.Struct, frozen=True):
    accepted: Sequence[ScoreEvent]
    refused: Sequence[tuple[ScoreEvent, Reject]] = ()
    in_doubt: Sequence[tuple[ScoreEvent, str]] = ()
    done: bool = True


class JsonLinesSink:
    """Writes one XDM event a line; accepts all of them."""

    unavailable_reason: str | None = None

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines

    def start(self) -> None:
        """Start nothing."""

    def deliver(self, events: Sequence[ScoreEvent]) -> _Written:
        """Write events."""
        self._lines.writelines(event.body.decode() + "\n" for event in events)
        return _Written(events)

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Forget nothing: what was handed over is written."""

    def close(self, seconds: float) -> None:
        """Flush what was written."""
        del seconds
        self._lines.flush()
