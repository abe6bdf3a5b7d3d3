import msgspec
import pytest

from processor.codec.repartition_message import decode, encode, key_of
from processor.domain.errors import RejectError
from processor.domain.event import Fact, RepartitionMessage
from processor.domain.outcome import Reason

FACT = Fact(1_700_000_000_000, "event-1", "web", ("webVisit",), page="Home")


def test_message_is_decoded_as_it_was_encoded() -> None:
    message = RepartitionMessage(b"ECID|1", FACT)

    assert decode(encode(message)) == message


def test_fields_of_newer_versions_are_skipped_and_missing_ones_have_defaults() -> None:
    fields = [b"ECID|1", [1_700_000_000_000, "x"], [], None, "more"]
    newer = b"\x01" + msgspec.msgpack.encode(fields)
    older = b"\x01" + msgspec.msgpack.encode([b"ECID|1"])

    assert decode(newer) == RepartitionMessage(b"ECID|1", Fact(1_700_000_000_000, "x"))
    assert decode(older) == RepartitionMessage(b"ECID|1")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x01",
        b'{"_id": "1"}',
        b"\x02" + msgspec.msgpack.encode([b"ECID|1"]),
        b"\x01" + msgspec.msgpack.encode(["ECID|1"]),
        b"\x01" + msgspec.msgpack.encode([b"nobody"]),
        encode(RepartitionMessage(b"ECID|1", FACT))[:-1],
    ],
)
def test_value_of_another_format_or_cut_off_is_malformed(value: bytes) -> None:
    with pytest.raises(RejectError) as raised:
        decode(value)

    assert raised.value.reject.reason is Reason.MALFORMED


def test_message_has_the_key_of_the_scores() -> None:
    assert key_of(b"Email|a|b@example.org", namespaced=False) == b"a|b@example.org"
    assert key_of(b"ECID|12", namespaced=True) == b"ECID|12"
