"""What is known of events that fail alone, so that it counts on after a restart.

A history is a fact in the control store, `suspect/ROUTE/TOPIC/PARTITION/OFFSET`, written while the
event fails and deleted once its record is settled. The rule is in `sink/suspect.py`.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from processor.domain.clock import Clock, Deadline
from processor.domain.control import ControlStore, ControlValue
from processor.domain.event import RetriedEvent, SuspectHistory
from processor.domain.record import Partition, Record

SUSPECT: Final = "suspect/"
_WRITE_SECONDS: Final = 15.0
_MAX_WRITTEN: Final = 100
"""Histories kept: the events that fail for longest come first."""
_FORGET_MS: Final = 7 * 86_400_000


class SuspectHistories:
    """The histories of the group, as of the last `refresh`."""

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._write_due = Deadline(clock, 0)
        self._facts: dict[str, ControlValue] = {}
        self.known: dict[str, SuspectHistory] = {}
        """By `RetriedEvent.key`; replaced as a whole, for other threads."""

    def refresh(self, retried: Sequence[RetriedEvent], *, at_once: bool = False) -> bool:
        """Write what is new of these events when it is time to; return whether `known` changed."""
        if at_once or self._write_due.over():
            self._write_due = Deadline(self._clock, _WRITE_SECONDS)
            self._write(retried[:_MAX_WRITTEN])
        facts = dict(self._control.items(SUSPECT))
        if facts == self._facts:
            return False
        self._facts, self.known = facts, {}
        for key, fact in facts.items():
            try:
                self.known[key.removeprefix(SUSPECT)] = msgspec.convert(fact, SuspectHistory)
            except msgspec.ValidationError:  # of another version: its count begins anew
                continue
        return True

    def settled(self, records: Iterable[Record], revoked: AbstractSet[Partition]) -> None:
        """Forget the events of settled records, but for those of revoked partitions."""
        if not self._facts:
            return
        origins = {each.origin for each in records if _partition(each) not in revoked}
        for key in self._facts:
            if "/".join(key.split("/")[-3:]) in origins:
                self._control.put(key, None)

    def _write(self, retried: Sequence[RetriedEvent]) -> None:
        for event in retried:
            fact = msgspec.to_builtins(event.history)
            if fact is not None and fact != self._facts.get(SUSPECT + event.key):
                self._control.put(SUSPECT + event.key, fact)
        oldest = self._clock.now_ms() - _FORGET_MS
        for key in self.known.keys() - {event.key for event in retried}:
            if self.known[key].since_ms < oldest:
                self._control.put(SUSPECT + key, None)


def _partition(record: Record) -> Partition:
    return Partition(record.topic, record.partition)
