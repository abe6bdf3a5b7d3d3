"""Avro's logical types: what a stored value means, without ever failing for a date that can not be.

One bad field must not cost the event: it becomes NaN, which no date is.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from fastavro.read import LOGICAL_READERS

__all__ = ["Meaning", "meaning_of"]

Meaning: TypeAlias = Callable[[Any, Any, Any], Any]
"""From a stored value, its schema, and one more that is not used, to what it means."""

_MAX_DECIMAL_BYTES = 32
_MAX_DECIMAL_SCALE = 77
_NOT_A_DATE = float("nan")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local timestamps have no zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


def meaning_of(schema: dict[str, Any]) -> Meaning | None:
    """Return what reads the logical type of a parsed schema, None where it is taken as stored."""
    logical = schema.get("logicalType")
    return LOGICAL_READERS.get(f"{schema['type']}-{logical}") if logical else None


def _decimal(data: bytes, writer: dict[str, Any] | None, *_: object) -> float:
    # The library's own reader takes minutes for a decimal of a megabyte.
    scale = (writer or {}).get("scale", 0)
    if len(data) > _MAX_DECIMAL_BYTES or not 0 <= scale <= _MAX_DECIMAL_SCALE:
        raise ValueError("decimal out of bounds")
    unscaled = int.from_bytes(data, "big", signed=True)
    return float(unscaled / 10**scale)


def _date(days: int, *_: object) -> date | float:
    try:
        return _EPOCH_DAY + timedelta(days=days)
    except OverflowError:
        return _NOT_A_DATE


def _timestamp(epoch: datetime, unit: timedelta) -> Meaning:
    def read(value: int, *_: object) -> datetime | float:
        try:
            return epoch + value * unit
        except OverflowError:
            return _NOT_A_DATE

    return read


_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)

# fastavro's documented place for logical types, one for the process.
LOGICAL_READERS.update(
    {
        "bytes-decimal": _decimal,
        "fixed-decimal": _decimal,
        "int-date": _date,
        "long-timestamp-millis": _timestamp(_EPOCH_UTC, _MS),
        "long-timestamp-micros": _timestamp(_EPOCH_UTC, _US),
        "long-local-timestamp-millis": _timestamp(_EPOCH, _MS),
        "long-local-timestamp-micros": _timestamp(_EPOCH, _US),
    }
)
for _kept_as_stored in ("string-uuid", "int-time-millis", "long-time-micros"):
    LOGICAL_READERS.pop(_kept_as_stored, None)
