"""What intake is held for: each part of the world that can not keep up, and why."""

from collections.abc import Mapping

from processor.batch import Doors

__all__ = ["Holds"]


class Holds:
    """Asks the doors and the loop why intake must wait, and holds or releases the source by it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self.causes: Mapping[str, str] = {}

    def follow(self, *, registry: str | None, window: str | None) -> None:
        """Look again; `registry` and `window` are the loop's own reasons."""
        doors = self._doors
        asked = {
            "destination": doors.sink.holding,
            "dead_letters": doors.dead_letters.holding,
            "state": self._state(),
            "forward": doors.forward.holding,
            "commit": doors.source.overdue,
            "registry": registry,
            "window": window,
        }
        causes = {part: reason for part, reason in asked.items() if reason}
        for part in self.causes.keys() - causes.keys():
            doors.source.release(part)
        for part in causes.keys() - self.causes.keys():
            doors.source.hold(part)
        self.causes = causes

    def _state(self) -> str | None:
        memory = self._doors.memory
        return memory.holding or ("restoring what is known" if memory.restoring else None)
