"""JSON text, with hostile cases."""

import pytest

from processor.codec.json_text import decode_json, nested_deeper
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason


def _reason(text: bytes, max_depth: int = 8) -> Reason:
    with pytest.raises(RejectError) as caught:
        decode_json(text, max_depth)
    return caught.value.reject.reason


def test_integers_stay_exact() -> None:
    assert decode_json(b"12345678901234567890123456789012345678", 8) == int(
        "1234567890" * 3 + "12345678"
    )


def test_byte_order_mark_is_skipped_once() -> None:
    assert decode_json(b'\xef\xbb\xbf{"a": 1}', 8) == {"a": 1}
    assert _reason(b"\xef\xbb\xbf\xef\xbb\xbf{}") is Reason.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"NaN",
        b"[Infinity]",
        b"1e400",
        b'{"a": 1',
        b"{} {}",
        b'"\xff"',
        b'{"\xe9": 1}',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        "{}".encode("utf-16"),
        b"'a'",
        b"\x00",
    ],
)
def test_text_that_is_not_json_is_malformed(text: bytes) -> None:
    assert _reason(text) is Reason.MALFORMED


def test_detail_never_quotes_the_text() -> None:
    with pytest.raises(RejectError) as caught:
        decode_json(b'{"secret": "ada@example.com" oops}', 8)

    assert "ada" not in caught.value.reject.detail
    assert "secret" not in caught.value.reject.detail


@pytest.mark.parametrize("levels", [9, 100, 999, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_beyond_the_limit_is_too_deep(levels: int, opening: bytes, closing: bytes) -> None:
    assert _reason(opening * levels + b"1" + closing * levels) is Reason.TOO_DEEP


def test_nesting_at_the_limit_is_read() -> None:
    assert decode_json(b"[" * 8 + b"]" * 8, 8) == [[[[[[[[]]]]]]]]


def test_brackets_side_by_side_or_in_text_are_not_nested() -> None:
    assert not nested_deeper(b"[" + b'{"a": [1]},' * 500 + b"1]", 3)
    assert not nested_deeper(b'["' + b"[{" * 500 + b'\\"[["]', 1)
    assert nested_deeper(b'["' + b"[{" * 500 + b'\\"[[",[[]]]', 2)


def test_a_hundred_thousand_unclosed_brackets_are_refused() -> None:
    assert _reason(b"[" * 100_000) is Reason.TOO_DEEP
