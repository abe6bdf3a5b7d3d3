"""Single records that an operator skips: dead-lettered with their bytes, whatever is in them.

A skip is a fact in the control store, `skip/TOPIC/PARTITION/OFFSET/ID` with {since, reason, by};
the id is that of the topic, so that a skip does not concern a later topic of its name. The replica
that has the partition adds `result` once the record is settled, and `done` and `done_by` once the
group has committed beyond it. Until then a record that is read again is skipped again, which
writes a second dead letter; that is logged. The fact stays as the record of who skipped
what, and why.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from processor.domain.clock import Clock
from processor.domain.control import ControlStore, ControlValue, GroupPosition
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Position, Record

SKIP: Final = "skip/"
_PLACE: Final = len(Position._fields)

log = structlog.get_logger()


class _Waiting(NamedTuple):
    """A skip that is not done, and its key."""

    key: str
    fact: ControlValue


class Skips:
    """The skips of the group that are not done, as of the last `refresh`."""

    def __init__(self, control: ControlStore, position: GroupPosition, clock: Clock) -> None:
        self._control = control
        self._position = position
        self._clock = clock
        self._waiting: dict[Position, _Waiting] = {}

    def refresh(self) -> Mapping[Position, Reject]:
        """Read the skips again; return those that are new, with the reject for an event in hand."""
        known = self._waiting
        self._waiting = {}
        for key, fact in self._control.items(SKIP).items():
            with suppress(ValueError):  # a key that was not written by `skip`
                position, topic_id = _parse(key)
                if "done" not in fact and self._is_of(topic_id, position.topic):
                    self._waiting[position] = _Waiting(key, fact)
        self._finish_committed()
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
        """Note the result of the skips of settled records, but for those of revoked partitions."""
        if not self._waiting:
            return
        skipped = {Position.of(record) for record, why in rejected if why.reason is Reason.SKIPPED}
        for position in self._waiting.keys() & set(map(Position.of, records)):
            if (position.topic, position.partition) not in revoked:
                result = "dead_lettered" if position in skipped else "settled before"
                self._note_result(position, result)

    def _is_of(self, topic_id: str, topic: str) -> bool:
        """Return whether a skip is of the topic that has its name now, as far as is known."""
        now = self._position.topic_id(topic)
        return topic_id == now or not (topic_id and now)

    def _note_result(self, position: Position, result: str) -> None:
        key, fact = self._waiting[position]
        if result == fact.get("result") == "dead_lettered":
            log.warning(
                "A record was skipped a second time, because it was read again before its offset "
                "was committed; it has a second dead letter.",
                code="record_skipped_again",
                record=str(position),
                always=True,
            )
        else:
            fact = {**fact, "result": result}
            self._waiting[position] = _Waiting(key, fact)
            self._control.put(key, fact)

    def _finish_committed(self) -> None:
        """Mark the skips as done beyond which the group has committed."""
        for position in list(self._waiting):
            committed = self._position.committed_offset(
                Partition(position.topic, position.partition)
            )
            if committed is not None and committed > position.offset:
                self._finish(position)

    def _finish(self, position: Position) -> None:
        key, fact = self._waiting.pop(position)
        result = fact.get("result", "settled before")
        done = {"done": self._clock.now_ms(), "done_by": socket.gethostname(), "result": result}
        self._control.put(key, {**fact, **done})
        log.warning(
            "A record was skipped as an operator asked.",
            code="record_skipped",
            record=str(position),
            reason=fact.get("reason"),
            by=fact.get("by"),
            result=result,
            always=True,
        )


def skip_key(position: Position, topic_id: str = "") -> str:
    """Return the key of a skip of this record, of the topic with this id."""
    return f"{SKIP}{position}/{topic_id}" if topic_id else f"{SKIP}{position}"


def skip(  # noqa: PLR0913  what is skipped, and who asks
    control: ControlStore,
    position: Position,
    *,
    reason: str,
    by: str,
    now_ms: int,
    topic_id: str = "",
) -> ControlValue | None:
    """Ask for a skip; return the skip of this record that is known already, and change nothing."""
    key = skip_key(position, topic_id)
    known = control.get(key)
    if known is None:
        control.put(key, {"since": now_ms, "reason": reason, "by": by})
    return known


def _parse(key: str) -> tuple[Position, str]:
    """Return the record of a skip, and the id of its topic; raises ValueError.

    An id may contain slashes.
    """
    parts = key.removeprefix(SKIP).split("/", _PLACE)
    return Position.parse("/".join(parts[:_PLACE])), "".join(parts[_PLACE:])


def _reject(stage: Stage) -> Reject:
    return Reject(stage, Reason.SKIPPED, "An operator skipped the record.")
