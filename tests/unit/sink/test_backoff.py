from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from processor.sink.backoff import Backoff, asked_delay

_NOW = 1_795_000_000_000


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(_NOW / 1000 + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("301", 300.0),
        ("999999999999999999", 300.0),
        (_date(30), 30.0),
        (_date(86_400), 300.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        (_date(-30), None),
        ("0", None),
        ("-5", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 400, None),
        ("Wed, 99 Foo 99999 99:99:99 GMT", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(
    header: str | None, seconds: float | None
) -> None:
    assert asked_delay(header, _NOW, 300.0) == seconds


def test_the_ceiling_doubles_to_the_cap() -> None:
    backoff = Backoff(0.5, 30.0, uniform=lambda _, high: high)

    assert [backoff.delay(n) for n in (0, 1, 2, 5, 6, 7, 10_000)] == [0.5, 1, 2, 16, 30, 30, 30]


def test_jitter_is_full_so_that_replicas_do_not_come_in_waves() -> None:
    backoff = Backoff(1.0, 30.0)

    delays = [backoff.delay(3) for _ in range(400)]

    assert 0 <= min(delays) < 1.0
    assert 7.0 < max(delays) <= 8.0


def test_an_asked_wait_is_honoured_within_a_tenth() -> None:
    backoff = Backoff(0.5, 30.0)

    assert all(20.0 <= backoff.spread(20.0) <= 22.0 for _ in range(100))
