"""Every form of a date."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from processor.codec.dates import Dates
from processor.domain.errors import SettingsError

MIDNIGHT_MS = 1_785_715_200_000
"""2026-08-03T00:00:00Z."""


@pytest.mark.parametrize(
    "form",
    [
        "2026-08-03",
        " 2026-08-03 ",
        "2026-08-03 00:00:00",
        "2026-08-03 00:00:00.000",
        "2026-08-03T00:00:00",
        "2026-08-03T00:00:00Z",
        "2026-08-03t00:00:00z",
        "2026-08-03T00:00:00.000Z",
        "2026-08-03T00:00:00.000000000Z",
        "2026-08-03T00:00:00+00:00",
        "2026-08-03T00:00:00-00:00",
        "2026-08-02T16:00:00-08:00",
        "2026-08-03T13:00:00+13:00",
        "2026-08-03T05:30:00+0530",
        "2026-08-02T23:59:60Z",
        "1785715200",
        "1785715200000",
        "1785715200000000",
        1_785_715_200,
        1_785_715_200_000,
        1_785_715_200_000_000,
        1_785_715_200.0,
        date(2026, 8, 3),
        datetime(2026, 8, 3, tzinfo=UTC),
        datetime(2026, 8, 3, 2, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 8, 3),  # noqa: DTZ001  as an Avro local timestamp is read
    ],
)
def test_all_forms_of_one_instant_are_equal(form: object) -> None:
    assert Dates("UTC").instant_ms(form) == MIDNIGHT_MS


@pytest.mark.parametrize(
    ("form", "ms"),
    [
        ("2026-08-03T00:00:00.1Z", 100),
        ("2026-08-03T00:00:00.123999Z", 123),
        ("1785715200000999", 0),
        (1_785_715_200.123, 123),
        (1_785_715_200_123, 123),
    ],
)
def test_fractions_finer_than_a_millisecond_are_cut_off(form: object, ms: int) -> None:
    assert Dates("UTC").instant_ms(form) == MIDNIGHT_MS + ms


@pytest.mark.parametrize(
    "form",
    [
        "",
        "yesterday",
        "2026-02-30",
        "2026-13-01",
        "2026-08-03T24:00:00Z",
        "2026-08-03T12:61:00Z",
        "2026-08-03T00:00:00+25:00",
        "2026-W31-1",
        "2026-08-03X00:00:00Z",
        "08/03/2026",
        "9" * 40,
        "9" * 400,
        "-",
        "\uff12\uff10\uff12\uff16-08-03",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00+14:00",
        10**17,
        10**400,
        -(10**14) + 1,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        {"value": 1},
        b"2026-08-03",
    ],
)
def test_value_that_is_not_a_date_is_refused(form: object) -> None:
    with pytest.raises(ValueError, match=r"^(is|names) "):
        Dates("UTC").instant_ms(form)


def test_refusal_does_not_quote_the_text() -> None:
    with pytest.raises(ValueError, match="day or time") as caught:
        Dates("UTC").instant_ms("2026-08-03 ada@example.com")

    assert "ada" not in str(caught.value).lower()


@pytest.mark.parametrize("form", ["2026-08-03", "2026-08-03 00:00:00", date(2026, 8, 3)])
def test_date_without_a_zone_is_in_the_configured_zone(form: object) -> None:
    berlin = Dates("Europe/Berlin")

    assert berlin.instant_ms(form) == MIDNIGHT_MS - 2 * 3_600_000
    assert berlin.instant_ms("2026-08-03T00:00:00Z") == MIDNIGHT_MS
    assert berlin.instant_ms(1_785_715_200) == MIDNIGHT_MS


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_unknown_zone_is_refused_at_start(zone: str) -> None:
    with pytest.raises(SettingsError, match=r"reading\.zone"):
        Dates(zone)


def test_eight_digits_of_a_day_are_that_day() -> None:
    assert Dates("UTC").instant_ms("20260803") == MIDNIGHT_MS
    assert Dates("Asia/Kolkata").instant_ms(" 20260803 ") == MIDNIGHT_MS - 19_800_000


@pytest.mark.parametrize("form", ["20261320", "18991231", "21010101", "20260230", 20_260_803])
def test_eight_digits_of_no_day_are_epoch_seconds(form: str | int) -> None:
    assert Dates("UTC").instant_ms(form) == int(form) * 1000


@pytest.mark.parametrize(
    ("form", "up"),
    [
        ("2026-08-03T00:00:00Z", 0),
        ("2026-08-03T00:00:00.001000000Z", 1),
        ("2026-08-03T00:00:00.001000001Z", 2),
        ("2026-08-03T00:00:00.0001Z", 1),
        ("1785715200000001", 1),
        (1_785_715_200.0001, 1),
        (1_785_715_200.123, 123),
        (1_785_715_200_000.5, 1),
        (datetime(2026, 8, 3, 0, 0, 0, 1, tzinfo=UTC), 1),
    ],
)
def test_fractions_finer_than_a_millisecond_can_be_rounded_up(form: object, up: int) -> None:
    assert Dates("UTC").instant_up_ms(form) == MIDNIGHT_MS + up


def test_rounding_up_stays_below_the_year_10000() -> None:
    dates, last = Dates("UTC"), "9999-12-31T23:59:59.9999Z"

    assert dates.instant_up_ms(last) == dates.instant_ms(last)
