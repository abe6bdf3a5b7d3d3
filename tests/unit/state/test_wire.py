"""A person as bytes, across versions."""

import msgspec
import pytest

from processor.errors import InvariantError
from processor.event import Fact
from processor.person import Person, merge
from processor.state.wire import decode, encode, merge_wires
from tests.support.state import LIMITS, knows


def test_fields_that_a_newer_version_added_at_the_end_are_skipped() -> None:
    known = knows(1, 2, scores=(1,))
    written = msgspec.msgpack.decode(encode(known)[1:])
    rest = ["", [], False, "", "", "", "", []]
    facts = [[*fact, *rest, "a newer field"] for fact in written[0]]
    fields = [facts, *written[1:], "a newer field"]
    newer = b"\x01" + msgspec.msgpack.encode(fields)

    assert decode(newer) == known


def test_what_an_older_version_left_out_is_its_default() -> None:
    older = b"\x01" + msgspec.msgpack.encode([[[5, "event"]]])

    assert decode(older) == Person((Fact(5, "event"),))


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
