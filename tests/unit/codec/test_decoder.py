"""The Confluent frame."""

import pytest

from processor.codec.decoder import framed_id, unframe
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason


def test_frame_holds_a_big_endian_id_and_the_message() -> None:
    assert unframe(b"\x00\x00\x00\x01\x02message") == (258, b"message")
    assert framed_id(b"\x00\x00\x00\x01\x02message") == 258


def test_message_of_no_bytes_is_still_framed() -> None:
    assert unframe(b"\x00\x00\x00\x00\x07") == (7, b"")


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x01" + bytes(20), b"{}"])
def test_value_without_a_whole_frame_is_refused(value: bytes) -> None:
    assert framed_id(value) is None
    with pytest.raises(RejectError) as caught:
        unframe(value)

    assert caught.value.reject.reason is Reason.BAD_FRAME


def test_frame_with_a_guid_is_refused_with_that_reason() -> None:
    with pytest.raises(RejectError, match="GUID"):
        unframe(b"\x01" + bytes(16) + b"{}")


def test_tombstone_is_not_framed() -> None:
    assert framed_id(None) is None
