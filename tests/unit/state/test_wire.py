"""A person as bytes, across versions."""

import msgspec
import pytest

from processor.errors import InvariantError
from processor.event import Fact
from processor.person import Person, facts_as_of, merge
from processor.state.wire import decode, encode, merge_wires
from tests.support.state import DAY_MS, LIMITS, T0, fact, knows


def test_fields_that_a_newer_version_added_at_the_end_are_skipped() -> None:
    known = knows(1, 2, scores=(1,))
    facts, *others = msgspec.msgpack.decode(encode(known)[1:])
    facts = [_with_a_newer_field(kept) for kept in facts]
    fields = [facts, *others, "a newer field"]
    newer = b"\x01" + msgspec.msgpack.encode(fields)

    read = decode(newer)
    assert read is not None
    assert facts_as_of(read, T0 + 9 * DAY_MS, 9 * DAY_MS) == (fact(1), fact(2))
    assert read.scores == known.scores


def _with_a_newer_field(kept: bytes) -> bytes:
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(kept), "a newer field"])


def test_what_an_older_version_left_out_is_its_default() -> None:
    kept = msgspec.msgpack.encode([T0, "event"])
    older = decode(b"\x01" + msgspec.msgpack.encode([[kept]]))

    assert older == Person((kept,))
    assert facts_as_of(older, T0, 0) == (Fact(T0, "event"),)


def test_a_newer_format_is_refused_and_never_taken_for_nobody() -> None:
    with pytest.raises(InvariantError, match="format 2"):
        decode(b"\x02" + encode(knows(1))[1:])


@pytest.mark.parametrize("bytes_", [b"", b"\x01", b"\x00abc", b"\x01\xc1", b"\x01\x91\x05"])
def test_bytes_that_never_were_ours_say_nothing(bytes_: bytes) -> None:
    mine = encode(knows(1))

    assert decode(bytes_) is None
    assert merge_wires(bytes_, mine, LIMITS) == mine
    assert merge_wires(mine, bytes_, LIMITS) == mine


def test_two_wires_merge_as_their_persons_do() -> None:
    one, other = knows(1, 2, scores=(1,)), knows(2, 3, scores=(2,))

    assert merge_wires(encode(one), encode(other), LIMITS) == encode(merge(one, other, LIMITS))
