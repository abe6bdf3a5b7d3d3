"""Laws of lenient JSON: any bytes give a value or a reject, and valid JSON its own value."""

from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.codec.json_text import decode_leniently
from processor.domain.errors import RejectError
from tests.support.reading import EVENTS, json_record, reader_with

Json: TypeAlias = Any

READER = reader_with()
EVENT = (
    b'{"_id":"e","timestamp":"2026-07-31T12:00:00Z","identityMap":{"CRMID":[{"id":"7"}]},'
    b'"web":{"webPageDetails":{"name":"home"}},"commerce":{"purchases":{"value":1}}}'
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
pieces = st.binary(max_size=3) | st.sampled_from(
    [b"NaN", b"-Infinity", b"1e999", b'"\\ud83d"', b"[" * 2_000, b"9" * 5_000, b"\xef\xbb\xbf"]
)


@given(st.binary() | st.lists(pieces).map(b"".join), st.integers(1, 64))
@settings(max_examples=500)
def test_arbitrary_bytes_are_read_or_rejected(text: bytes, depth: int) -> None:
    with suppress(RejectError):
        msgspec.json.encode(decode_leniently(text, depth))


@given(st.integers(0, len(EVENT)), st.integers(0, 3), pieces)
@settings(max_examples=500)
def test_damaged_events_are_read_or_rejected(start: int, width: int, piece: bytes) -> None:
    text = EVENT[:start] + piece + EVENT[start + width :]
    with suppress(RejectError):
        msgspec.json.encode(READER.read(json_record(text, EVENTS)).event)


@given(trees)
def test_valid_json_is_read_as_by_the_strict_decoder(tree: Json) -> None:
    text = msgspec.json.encode(tree)

    assert repr(decode_leniently(text, 64)) == repr(msgspec.json.decode(text))
