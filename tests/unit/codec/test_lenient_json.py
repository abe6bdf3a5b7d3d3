"""Experience events with bad characters or numbers, read leniently."""

import struct

import msgspec
import pytest

from processor.codec.json_text import decode_leniently
from processor.domain.errors import RejectError
from processor.domain.event import ExperienceEvent
from processor.domain.outcome import FilterRule, Reason
from tests.support.paths import ROOT
from tests.support.reading import ECID, EVENTS, SCORES, json_record, reader_with, refusal

READER = reader_with()
IDS = msgspec.json.decode((ROOT / "schemas/avro/ids.json").read_bytes())
JSON_SCHEMA_ID = next(int(number) for number, file in IDS.items() if file.startswith("json/"))
AVRO_SCHEMA_ID = next(int(number) for number, file in IDS.items() if file.endswith(".avsc"))
AT_MS = 1_785_499_200_000


def _text(more: bytes, ecid: bytes = ECID.encode()) -> bytes:
    return (
        b'{"_id":"e-1","timestamp":"2026-07-31T12:00:00Z","identityMap":{"ECID":[{"id":"%b"}]},%b}'
        % (ecid, more)
    )


def _event(text: bytes) -> ExperienceEvent:
    event = READER.read(json_record(text, EVENTS)).event
    assert event is not None
    return event


@pytest.mark.parametrize(
    "more",
    [
        b'"x":NaN',
        b'"x":[-Infinity,Infinity]',
        b'"x":1e999',
        b'"x":' + b"9" * 5_000,
        b'"x":"\\ud83d"',
        b'"x\\uDC00":1',
        b'"x":"caf\xe9"',
        b'"x":"a\x00b"',
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_event_with_a_bad_value_is_read_without_it(more: bytes, mark: bytes) -> None:
    event = _event(mark + _text(more + b',"commerce":{"purchases":{"value":1}}'))

    assert [one.id for one in event.identities] == [ECID]
    assert (event.fact.time_ms, event.fact.kinds) == (AT_MS, ("purchases",))


def test_unreadable_characters_of_a_text_are_replaced() -> None:
    page = b'"web":{"webPageDetails":{"name":"%b"}}'

    assert _event(_text(page % b"caf\xe9")).fact.page == "caf\ufffd"
    assert _event(_text(page % b"x\\ud83d")).fact.page == "x\ufffd"
    assert _event(_text(page % b"x\\ud83d\\ude00\xe9")).fact.page == "x\U0001f600\ufffd"


def test_measure_that_is_not_a_number_is_absent() -> None:
    assert _event(_text(b'"commerce":{"purchases":{"value":NaN}}')).fact.kinds == ()


def test_id_with_a_replaced_character_is_left_out() -> None:
    reading = READER.read(json_record(_text(b'"x":1', b"ann\xe9"), EVENTS))

    assert reading.rule is FilterRule.EVENT_WITHOUT_PERSON


@pytest.mark.parametrize("model", [b'{"score":NaN}', b'{"score":5,"scoreDate":"2026-08-03"}', b"7"])
def test_damaged_event_with_scores_is_rejected(model: bytes) -> None:
    text = _text(b'"x":NaN,"_acme":{"CustomerAI":{"Churn":%b}}' % model)

    assert refusal(READER, json_record(text, EVENTS)).reason is Reason.MALFORMED


def test_score_records_are_never_read_leniently() -> None:
    text = b'{"prediction":"Churn","score":5,"scoreDate":"2026-08-03","id":"7","x":NaN}'

    assert refusal(READER, json_record(text, SCORES)).reason is Reason.MALFORMED


@pytest.mark.parametrize("text", [b"", b"NaN", b"{", b"[NaN]", b'{"a":NaN,}', b'{"a":1}x'])
def test_text_that_is_not_an_object_either_way_is_malformed(text: bytes) -> None:
    assert refusal(READER, json_record(text, EVENTS)).reason is Reason.MALFORMED


def test_empty_value_is_rejected_as_empty() -> None:
    for topic in (SCORES, EVENTS):
        assert refusal(READER, json_record(b"", topic)).detail == "The value is empty."


@pytest.mark.parametrize("depth", [65, 100_000])
def test_lenient_decoding_limits_the_depth_too(depth: int) -> None:
    with pytest.raises(RejectError) as caught:
        decode_leniently(b'{"a":NaN,"b":' + b"[" * depth + b"]" * depth + b"}", 64)

    assert caught.value.reject.reason is Reason.TOO_DEEP


def test_framed_json_is_read_leniently_too() -> None:
    frame = b"\x00" + struct.pack(">I", JSON_SCHEMA_ID)
    record = json_record(frame + _text(b'"x":NaN'), EVENTS)
    READER.fetch_schemas([record])

    assert READER.read(record).event is not None


def test_framed_avro_is_not_read_leniently() -> None:
    record = json_record(b"\x00" + struct.pack(">I", AVRO_SCHEMA_ID) + b"\xff", EVENTS)

    refused = refusal(READER, record)

    assert refused.reason is Reason.MALFORMED
    assert refused.detail.startswith("The message does not fit its schema")
    assert "Error" not in refused.detail
