"""What an experience event says that is worth remembering, from any of the four inputs."""

from functools import lru_cache
from hashlib import blake2b

from processor.codec.audiences import audiences_of
from processor.codec.characters import without_controls
from processor.codec.dates import Dates
from processor.codec.envelope import Unwrapped
from processor.codec.standard import MAX_TEXT, Table, kind_of_type
from processor.errors import RejectError
from processor.event import Fact
from processor.outcome import Reason, Stage
from processor.settings import JoinSettings

__all__ = ["FactReader"]


class FactReader:
    """Reads facts. Only a timestamp is required of an event: nothing else it lacks costs it."""

    def __init__(self, settings: JoinSettings, dates: Dates) -> None:
        self._dates = dates
        self._success = frozenset(settings.success_types)
        self._table = Table(settings.own_types, settings.cohort)

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
