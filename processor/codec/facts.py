"""What an experience event says that is worth remembering, from any of the four inputs.

The audiences an event's person is in, from the list form and the map form XDM has for them.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from processor.codec.coerce import without_controls
from processor.codec.dates import Dates
from processor.codec.envelope import Entity, Unwrapped
from processor.codec.event_types import MAX_TEXT, EventTypeTable, kind_of_type
from processor.domain.errors import RejectError
from processor.domain.event import Fact
from processor.domain.outcome import Reason, Stage
from processor.settings import JoinSettings

_MAX_AUDIENCES = 50
_MAX_TEXT = 64
_LEFT = "exited"


def audiences_of(entity: Entity) -> tuple[str, ...]:
    """Return audience ids in order and each once, at most 50; those the person has left are out."""
    found: set[str] = set()
    if (listed := entity.get("segmentMemberships")) is not None:
        found.update(_listed(listed))
    if (mapped := entity.get("segmentMembership")) is not None:
        found.update(_mapped(mapped))
    return tuple(sorted(found)[:_MAX_AUDIENCES]) if found else ()


def _listed(memberships: object) -> Iterator[str]:
    """`segmentMemberships`: as Audience Manager and Consumer Experience Events have it."""
    for item in memberships if type(memberships) is list else ():
        if type(item) is not dict or _has_left(item) or _has_left(item.get("profileStitchID")):
            continue
        segment = item.get("segmentID")
        name = segment.get("_id") if type(segment) is dict else segment
        if type(name) is str and name:
            yield name[:_MAX_TEXT]


def _mapped(memberships: object) -> Iterator[str]:
    """`segmentMembership`: namespace, then audience id, then its state."""
    if type(memberships) is not dict:
        return
    for segments in memberships.values():
        for name, state in segments.items() if type(segments) is dict else ():
            if name and not _has_left(state):
                yield name[:_MAX_TEXT]


def _has_left(state: Any) -> bool:  # noqa: ANN401  whatever the record has there
    return type(state) is dict and state.get("status") == _LEFT


class FactReader:
    """Reads facts. Only a timestamp is required of an event: nothing else it lacks costs it."""

    def __init__(self, settings: JoinSettings, dates: Dates) -> None:
        self._dates = dates
        self._success = frozenset(settings.success_types)
        self._table = EventTypeTable(settings.own_types, settings.cohort)

    def read(self, unwrapped: Unwrapped, value: bytes) -> Fact:
        """Return the fact of an event; `value` is the record's, which names what has no `_id`.

        Its time is rounded up to milliseconds, where score dates are cut: an event after a score
        date never counts as before it. RejectError: no_timestamp, or bad_date.
        """
        entity = unwrapped.entity
        time_ms = self._time_ms(unwrapped)
        declared = entity.get("eventType")
        event_type = without_controls(declared)[:MAX_TEXT] if type(declared) is str else ""
        found = self._table.find(entity)
        if event_type and (kind := kind_of_type(event_type)):
            found.kinds.append(kind)
        kinds = _in_order(tuple(found.kinds))
        text = found.texts.get
        return Fact(
            time_ms,
            _name(entity.get("_id"), value),
            event_type,
            kinds,
            event_type in self._success or not self._success.isdisjoint(kinds),
            text("page", ""),
            text("campaign") or text("tracking_code", ""),
            text("order_id", ""),
            text("cohort", ""),
            audiences_of(entity),
        )

    def _time_ms(self, unwrapped: Unwrapped) -> int:
        timestamp = unwrapped.entity.get("timestamp")
        if timestamp is None:
            raise _refused(Reason.NO_TIMESTAMP, "There is no timestamp.", unwrapped)
        try:
            return self._dates.instant_up_ms(timestamp)
        except ValueError as error:
            raise _refused(Reason.BAD_DATE, f"The timestamp {error}.", unwrapped) from error


@lru_cache(maxsize=1_024)
def _in_order(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Give an event that comes again in another order of keys the same fact."""
    return tuple(sorted(set(kinds)))


def _name(declared: object, value: bytes) -> str:
    """Take the event's own `_id`; a digest stands in for one that is missing or overlong."""
    if type(declared) is not str or not declared:
        return _digest(value)
    return declared if len(declared) <= MAX_TEXT else _digest(declared.encode())


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _refused(reason: Reason, detail: str, unwrapped: Unwrapped) -> RejectError:
    pointer = f"{unwrapped.pointer}/timestamp"
    return RejectError(Stage.READ, reason, detail, pointer=pointer)
