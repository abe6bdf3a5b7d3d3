import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from processor.sink.response import read_items, retry_after_seconds
from processor.sink.verdict import Action

_NOW = 1_795_000_000_000


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(_NOW / 1000 + seconds, UTC), usegmt=True)


def _read(*items: object) -> dict[int, str] | None:
    read = read_items(json.dumps({"inletId": "i", "responses": items}).encode(), len(items))
    return None if read is None else {index: item.verdict.action for index, item in read.items()}


def _ok(index: int) -> dict[str, str]:
    return {"xactionId": f"9341f8eb-{index}"}


def test_items_with_only_an_id_are_accepted() -> None:
    assert _read(_ok(0), _ok(1)) == {}


@pytest.mark.parametrize("key", ["status", "statusCode"])
@pytest.mark.parametrize("status", [400, "400"])
def test_both_documented_shapes_of_a_refusal_are_read(key: str, status: int | str) -> None:
    assert _read(_ok(0), {key: status, "message": "bad"}) == {1: Action.REFUSE}


def test_the_id_of_adobes_first_example_is_not_an_index() -> None:
    assert _read({"xactionId": "1532625558467:0001:13"}, {"statusCode": 400}) == {1: Action.REFUSE}


def test_an_explicit_success_status_is_accepted() -> None:
    assert _read(_ok(0) | {"status": 200}, _ok(1) | {"statusCode": "202"}) == {}


def test_items_out_of_order_are_matched_by_their_index() -> None:
    assert _read(_ok(2), _ok(0) | {"status": 400}, _ok(1)) == {0: Action.REFUSE}


def test_indexes_that_count_from_one_are_in_order_too() -> None:
    assert _read(_ok(1), _ok(2) | {"status": 400}, _ok(3)) == {1: Action.REFUSE}


@pytest.mark.parametrize("indexes", [(0, 0, 1), (1, 0, 7), (2, 2, 2)])
def test_indexes_that_contradict_the_order_make_a_refusal_unknown(
    indexes: tuple[int, int, int],
) -> None:
    first, second, third = indexes

    assert _read(_ok(first), _ok(second) | {"status": 400}, _ok(third)) is None


def test_a_permutation_that_cannot_be_resolved_is_unknown() -> None:
    assert _read({"status": 400, "message": "no id"}, _ok(2), _ok(1)) is None


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "ok",
        7,
        True,
        {},
        {"message": "no status"},
        {"xactionId": "a-0", "message": "no status"},
        {"xactionId": "a-0", "status": "pass"},
        {"xactionId": "a-0", "status": None},
        {"xactionId": "a-0", "status": True},
        {"xactionId": "a-0", "status": 400.0},
        {"xactionId": "a-0", "status": "\uff14\uff10\uff10"},
        {"xactionId": "a-0", "status": 200, "statusCode": 400},
        {"xactionId": "a-0", "status": {"code": 400}},
    ],
)
def test_an_item_of_unknown_shape_is_sent_again_alone(item: object) -> None:
    assert _read(item, {"xactionId": "no index"}) == {0: Action.RETRY}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"responses": null}',
        b'{"responses": {}}',
        b'{"responses": []}',
        b'{"responses": [{"xactionId": "a-0"}]}',
        b'{"responses": [{"xactionId": "a-0"}, {"xactionId": "a-1"}, {"xactionId": "a-2"}]}',
        b'{"responses": [{"xactionId": "a-0"}, {"xactionId": "a-',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{}",
        b'{"responses": "\xff\xff"}',
    ],
)
def test_an_answer_that_cannot_be_trusted_is_unknown(body: bytes) -> None:
    assert read_items(body, 2) is None


def test_the_message_of_a_refused_item_is_returned() -> None:
    body = {"responses": [{"status": 400, "message": {"report": {"message": "why"}}}]}

    items = read_items(json.dumps(body).encode(), 1)

    assert items is not None
    assert items[0].message == {"report": {"message": "why"}}


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
    assert retry_after_seconds(header, _NOW, 300.0) == seconds
