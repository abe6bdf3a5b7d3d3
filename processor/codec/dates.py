"""Dates in every accepted form to instants in epoch milliseconds."""

import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from processor.domain.errors import SettingsError

_Instant: TypeAlias = tuple[int, bool]
"""An instant cut to whole milliseconds, and True where a fraction was cut off."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS
_CACHED_TEXTS = 8_192
_MAX_TEXT = 48
_BELOW_MICROSECONDS = re.compile(r"[.,][0-9]{6}([0-9]+)")
_LENGTH_TO_MICROSECONDS = len("2026-08-03T00:00:00.000000")
_DAY_DIGITS = 8
_FIRST_YEAR, _LAST_YEAR = "1900", "2100"
_AFTER_DATE = ("T", " ", "")

# The unit of an epoch number follows from its magnitude. As seconds, 10**11 is a day of the year
# 5138; as milliseconds, it is one in March 1973; as microseconds, 10**14 is the same day. So dates
# from 1973 on are read right in all three units, and small numbers are always seconds.
_SECONDS_BELOW = 10**11
_MILLISECONDS_BELOW = 10**14
_MICROSECONDS_BELOW = 10**17


class Dates:
    """Reads dates as epoch milliseconds.

    `2021-08-02`, `2021-08-02 00:00:00`, RFC 3339 with any offset and fraction, Avro dates and
    timestamps, and epoch seconds, milliseconds or microseconds as a number or as digits; the unit
    follows from the magnitude. Text of eight digits that is a day of the years 1900 to 2100
    (`20210802`) is that day; a number never is. A date without a zone is taken in `zone` (IANA).
    """

    def __init__(self, zone: str) -> None:
        self._zone = _zone(zone)
        self._cached_text = lru_cache(_CACHED_TEXTS)(self._text)

    def instant_ms(self, value: object) -> int:
        """Return the instant, a finer fraction cut off; ValueError where it is not a date."""
        return self._instant(value)[0]

    def instant_up_ms(self, value: object) -> int:
        """Return the instant, a finer fraction rounded up; ValueError where it is not a date."""
        instant_ms, is_cut = self._instant(value)
        return min(instant_ms + is_cut, _LAST_MS)

    def _instant(self, value: object) -> _Instant:
        try:
            if type(value) is str and len(value) <= _MAX_TEXT:
                return self._cached_text(value)
            return _in_range(self._from_value(value))
        except OverflowError as error:
            raise ValueError("is outside the years 1 to 9999") from error

    def _from_value(self, value: object) -> _Instant:
        if isinstance(value, datetime):
            return self._from_datetime(value)
        if isinstance(value, date):
            return self._from_datetime(datetime(value.year, value.month, value.day))  # noqa: DTZ001
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _epoch(value)
        raise ValueError("is not a date")

    def _text(self, text: str) -> _Instant:
        bare = text.strip().upper()
        if bare[4:5] == "-" and bare[7:8] == "-" and bare[10:11] in _AFTER_DATE:
            instant_ms, is_cut = _in_range(self._from_datetime(_parsed(bare)))
            return instant_ms, is_cut or (len(bare) > _LENGTH_TO_MICROSECONDS and _is_finer(bare))
        if bare.isascii() and bare.removeprefix("-").isdigit():
            day = _day(bare)
            return _in_range(_epoch(int(bare)) if day is None else self._from_datetime(day))
        raise ValueError("is written in a form that is not read as a date")

    def _from_datetime(self, moment: datetime) -> _Instant:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return (moment - _EPOCH) // _MS, moment.microsecond % 1_000 > 0


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError([f"reading.zone: there is no time zone named {name!r}."]) from error


def _parsed(text: str) -> datetime:
    # RFC 3339 has the leap second, `datetime` does not. The error of `datetime` is replaced because
    # it quotes the text, which must not reach a reject.
    leap = text[17:19] == "60"
    try:
        moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if leap else text)
    except ValueError:
        raise ValueError("names no day or time that there is") from None
    return moment + timedelta(seconds=1) if leap else moment


def _is_finer(text: str) -> bool:
    """Return True where there are digits below a microsecond, which `datetime` drops."""
    found = _BELOW_MICROSECONDS.search(text)
    return found is not None and found[1].strip("0") != ""


def _day(digits: str) -> datetime | None:
    """Return the day of YYYYMMDD, None where it is none; as epoch seconds it would be in 1970."""
    if len(digits) != _DAY_DIGITS or not _FIRST_YEAR <= digits[:4] <= _LAST_YEAR:
        return None
    try:
        return datetime.fromisoformat(digits)
    except ValueError:
        return None


def _epoch(number: float) -> _Instant:
    size = abs(number)
    if size < _SECONDS_BELOW:
        # A float of seconds is exact to about a microsecond only, so it is rounded to one first.
        micros = number * 1_000_000 if isinstance(number, int) else round(number * 1_000_000)
        return micros // 1000, micros % 1000 > 0
    if size < _MILLISECONDS_BELOW:
        return math.floor(number), number % 1 > 0
    if size < _MICROSECONDS_BELOW:
        return math.floor(number // 1000), number % 1000 > 0
    raise ValueError("is no epoch number")


def _in_range(instant: _Instant) -> _Instant:
    if not _FIRST_MS <= instant[0] <= _LAST_MS:
        raise ValueError("is outside the years 1 to 9999")
    return instant
