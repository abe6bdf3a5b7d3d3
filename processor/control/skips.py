"""Single records that an operator skips: dead-lettered with their bytes, whatever is in them.

A skip is a fact in the control store, `skip/TOPIC/PARTITION/OFFSET` with {since, reason, by}. The
replica that has the partition adds `done`, `done_by` and `result` once the record is settled; the
fact stays as the record of who skipped what, and why.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

import structlog

from processor.domain.clock import Clock
from processor.domain.control import ControlStore, ControlValue
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Position, Record

SKIP: Final = "skip/"

log = structlog.get_logger()


class Skips:
    """The skips of the group that are not done, as of the last `refresh`."""

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._waiting: dict[Position, ControlValue] = {}

    def refresh(self) -> Mapping[Position, Reject]:
        """Read the skips again; return those that are new, with the reject for an event in hand."""
        known = self._waiting
        self._waiting = {}
        for key, fact in self._control.items(SKIP).items():
            with suppress(ValueError):  # a key that was not written by `skip`
                if "done" not in fact:
                    self._waiting[Position.parse(key.removeprefix(SKIP))] = fact
        return {each: _reject(Stage.DELIVER) for each in self._waiting.keys() - known.keys()}

    def rejects(self, records: Sequence[Record]) -> dict[int, Reject]:
        """Return the rejects of the records to skip, by index."""
        if not self._waiting:
            return {}
        return {
            index: _reject(Stage.READ)
            for index, record in enumerate(records)
            if Position.of(record) in self._waiting
        }

    def without(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records that are not to be skipped."""
        skipped = self.rejects(records)
        return [each for i, each in enumerate(records) if i not in skipped] if skipped else records

    def settled(
        self,
        records: Iterable[Record],
        rejected: Iterable[tuple[Record, Reject]],
        revoked: AbstractSet[Partition],
    ) -> None:
        """Mark the skips of settled records as done, but for those of revoked partitions."""
        if not self._waiting:
            return
        skipped = {Position.of(record) for record, why in rejected if why.reason is Reason.SKIPPED}
        for position in self._waiting.keys() & set(map(Position.of, records)):
            if (position.topic, position.partition) not in revoked:
                self._finish(position, "dead_lettered" if position in skipped else "settled before")

    def _finish(self, position: Position, result: str) -> None:
        fact = self._waiting.pop(position)
        done = {"done": self._clock.now_ms(), "done_by": socket.gethostname(), "result": result}
        self._control.put(skip_key(position), {**fact, **done})
        log.warning(
            "A record was skipped as an operator asked.",
            code="record_skipped",
            record=str(position),
            reason=fact.get("reason"),
            by=fact.get("by"),
            result=result,
            always=True,
        )


def skip_key(position: Position) -> str:
    """Return the key of a skip of this record."""
    return f"{SKIP}{position}"


def skip(
    control: ControlStore, position: Position, *, reason: str, by: str, now_ms: int
) -> ControlValue | None:
    """Ask for a skip; return the skip of this record that is known already, and change nothing."""
    known = control.get(skip_key(position))
    if known is None:
        control.put(skip_key(position), {"since": now_ms, "reason": reason, "by": by})
    return known


def _reject(stage: Stage) -> Reject:
    return Reject(stage, Reason.SKIPPED, "An operator skipped the record.")
