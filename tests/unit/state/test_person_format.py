"""The value of a person, across versions."""

import struct

import msgspec
import pytest

from processor.domain.errors import InvariantError
from processor.domain.event import Fact
from processor.domain.record import RecordPosition
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
    newer = b"\x03" + msgspec.msgpack.encode(fields)

    read = decode(newer)
    assert read is not None
    assert facts_as_of(read, T0 + 9 * DAY_MS, 9 * DAY_MS) == (fact(1), fact(2))
    assert read.scores == known.scores


def _with_a_newer_field(encoded: bytes) -> bytes:
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(encoded), "a newer field"])


def test_fields_an_older_version_did_not_have_get_their_defaults() -> None:
    encoded = msgspec.msgpack.encode([T0, "event"])
    older = decode(b"\x03" + msgspec.msgpack.encode([[encoded]]))

    assert older == Person((encoded,))
    assert facts_as_of(older, T0, 0) == (Fact(T0, "event"),)


@pytest.mark.parametrize("old_format", [1, 2])
def test_record_positions_are_not_known_in_a_value_of_an_older_format(old_format: int) -> None:
    at_ms, name, digest = T0, bytes.fromhex("ab" * 8), b"8 bytes."
    time = b"" if old_format == 1 else struct.pack(">Q", T0 + 9)
    entries = [
        struct.pack(">Q8s8sdB", (1 << 63) + at_ms + day, name, digest, 10.0 * day, 0) + time
        for day in (1, 2)
    ]
    fields = [[encode_fact(fact(1))], {"churn": b"".join(entries)}, b"", 0]
    old = bytes([old_format]) + msgspec.msgpack.encode(fields)

    person = decode(old)

    assert person is not None
    assert previous_score(person, "churn", T0 + 9) == PreviousScore(T0 + 2, 20.0, "low")
    for content, standing in ((digest, Novelty.SAME), (b"others..", Novelty.CORRECTION)):
        found = novelty(
            person,
            "churn",
            scored_at_ms=T0 + 1,
            event_id="ab" * 32,
            digest=content,
            position=RecordPosition(T0 + 9, 5),
        )
        assert found is standing
    assert encode(person)[:1] == b"\x03"
    assert decode(encode(person)) == person


def test_a_newer_format_raises_an_invariant_error() -> None:
    with pytest.raises(InvariantError, match="format 4"):
        decode(b"\x04" + encode(person_with(1))[1:])


@pytest.mark.parametrize(
    "bytes_", [b"", b"\x01", b"\x03", b"\x00abc", b"\x01\xc1", b"\x03\xc1", b"\x03\x91\x05"]
)
def test_bytes_that_no_version_wrote_are_no_person(bytes_: bytes) -> None:
    mine = encode(person_with(1))

    assert decode(bytes_) is None
    assert merge_values(bytes_, mine, LIMITS) == mine
    assert merge_values(mine, bytes_, LIMITS) == mine


def test_values_merge_as_their_persons_do() -> None:
    one, other = person_with(1, 2, scores=(1,)), person_with(2, 3, scores=(2,))

    assert merge_values(encode(one), encode(other), LIMITS) == encode(merge(one, other, LIMITS))


FORMAT_2 = bytes.fromhex(
    "02949081ba4c696b656c69686f6f64746f757067726164656163636f756e74c5011f8000019f1d294600cc45facd7d8d"
    "0728d15366e2a1c32bd14033000000000000000000019fc77ebe008000019fb0522000ee0904a516aa7b6694e78dfcf8"
    "2cbd084024000000000000000000019fc77ebe008000019fba9ed800ca5fee4683a9cf4d5da44940b4c049d640300000"
    "00000000000000019fc77ebe008000019fba9ed800ca5fee4683a9cf4d7dcbd15a55d0aaac402a000000000000000000"
    "019fc77ebe008000019fba9ed800ca5fee4683a9cf4d94e78dfcf82cbd084024000000000000000000019fc77ebe0080"
    "00019fc1ea850061a0cb154ccb0b08ca7a35e3af274b0e4034000000000000000000019fc77ebe008000019fc4eb9000"
    "9e29b098d281dbcf94e78dfcf82cbd084024000000000000000000019fc77ebe00c40000"
)
"""A person as a version with format 2 wrote it: a score of one date was corrected twice."""
MODEL = "Likelihoodtoupgradeaccount"
RUN_MS, RECORD_MS = 1_785_542_400_000, 1_785_758_400_000


def test_a_value_that_format_2_wrote_gives_the_same_previous_scores() -> None:
    person = decode(FORMAT_2)

    assert person is not None
    found = [previous_score(person, MODEL, RUN_MS + hours * 3_600_000) for hours in (0, 1, 35, 99)]
    assert found == [
        PreviousScore(1_785_369_600_000, 10.0, "low"),
        PreviousScore(RUN_MS, 10.0, "low"),
        PreviousScore(1_785_664_800_000, 20.0, "low"),
        PreviousScore(1_785_715_200_000, 10.0, "low"),
    ]


@pytest.mark.parametrize("digest", ["5da44940b4c049d6", "7dcbd15a55d0aaac", "94e78dfcf82cbd08"])
def test_scores_that_format_2_delivered_are_duplicates_when_they_are_read_again(
    digest: str,
) -> None:
    person = decode(FORMAT_2)

    assert person is not None
    found = novelty(
        person,
        MODEL,
        scored_at_ms=RUN_MS,
        event_id="ca5fee4683a9cf4d" + "0" * 48,
        digest=bytes.fromhex(digest),
        position=RecordPosition(RECORD_MS, 120),
    )
    assert found is Novelty.SAME


def test_values_of_two_formats_merge_to_the_newer_one() -> None:
    old = decode(FORMAT_2)
    assert old is not None

    assert merge_values(FORMAT_2, encode(old), LIMITS) == encode(old)
    assert merge_values(encode(old), FORMAT_2, LIMITS) == encode(old)
