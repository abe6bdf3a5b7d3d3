"""The value of a person, across versions."""

import struct

import msgspec
import pytest

from processor.domain.errors import InvariantError
from processor.domain.event import Fact
from processor.state.format.fact import encode_fact
from processor.state.format.person import decode, encode, merge_values
from processor.state.format.score_history import Novelty, PreviousScore
from processor.state.person import Person, facts_as_of, merge, novelty, previous_score
from tests.support.state import DAY_MS, LIMITS, T0, fact, person_with


def test_fields_added_at_the_end_by_a_newer_version_are_skipped() -> None:
    known = person_with(1, 2, scores=(1,))
    facts, *others = msgspec.msgpack.decode(encode(known)[1:])
    facts = [_with_a_newer_field(encoded) for encoded in facts]
    fields = [facts, *others, "a newer field"]
    newer = b"\x02" + msgspec.msgpack.encode(fields)

    read = decode(newer)
    assert read is not None
    assert facts_as_of(read, T0 + 9 * DAY_MS, 9 * DAY_MS) == (fact(1), fact(2))
    assert read.scores == known.scores


def _with_a_newer_field(encoded: bytes) -> bytes:
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(encoded), "a newer field"])


def test_fields_an_older_version_did_not_have_get_their_defaults() -> None:
    encoded = msgspec.msgpack.encode([T0, "event"])
    older = decode(b"\x02" + msgspec.msgpack.encode([[encoded]]))

    assert older == Person((encoded,))
    assert facts_as_of(older, T0, 0) == (Fact(T0, "event"),)


def test_record_times_are_0_in_a_value_of_format_1() -> None:
    at_ms, name, digest = T0, bytes.fromhex("ab" * 8), b"8 bytes."
    entries = [
        struct.pack(">Q8s8sdB", (1 << 63) + at_ms + day, name, digest, 10.0 * day, 0)
        for day in (1, 2)
    ]
    fields = [[encode_fact(fact(1))], {"churn": b"".join(entries)}, b"", 0]
    old = b"\x01" + msgspec.msgpack.encode(fields)

    person = decode(old)

    assert person is not None
    assert previous_score(person, "churn", T0 + 9) == PreviousScore(T0 + 2, 20.0, "low")
    for content, standing in ((digest, Novelty.SAME), (b"others..", Novelty.CORRECTION)):
        found = novelty(person, "churn", scored_at_ms=T0 + 1, event_id="ab" * 32, digest=content)
        assert found is standing
    assert encode(person)[:1] == b"\x02"
    assert decode(encode(person)) == person


def test_a_newer_format_raises_an_invariant_error() -> None:
    with pytest.raises(InvariantError, match="format 3"):
        decode(b"\x03" + encode(person_with(1))[1:])


@pytest.mark.parametrize(
    "bytes_", [b"", b"\x01", b"\x02", b"\x00abc", b"\x01\xc1", b"\x02\xc1", b"\x02\x91\x05"]
)
def test_bytes_that_no_version_wrote_are_no_person(bytes_: bytes) -> None:
    mine = encode(person_with(1))

    assert decode(bytes_) is None
    assert merge_values(bytes_, mine, LIMITS) == mine
    assert merge_values(mine, bytes_, LIMITS) == mine


def test_values_merge_as_their_persons_do() -> None:
    one, other = person_with(1, 2, scores=(1,)), person_with(2, 3, scores=(2,))

    assert merge_values(encode(one), encode(other), LIMITS) == encode(merge(one, other, LIMITS))
