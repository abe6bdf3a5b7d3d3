"""A person as bytes, the same on disk and on the wire: a format number, then MessagePack.

Within a format fields are only ever added at the end, with a default, so each version reads what an
older one wrote and skips what a newer one added. Equal persons are equal bytes. Format 1 had no
record times in what was delivered; it is read as if they were 0.
"""

from typing import Final

import msgspec

from processor.domain.errors import InvariantError
from processor.state.format.score_history import widened
from processor.state.person import Person, PersonLimits, merge

_FORMAT: Final = 2
_FRAME: Final = bytes([_FORMAT])
_TIMELESS: Final = b"\x01"

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(Person).decode


def encode(person: Person) -> bytes:
    """Return a person as bytes."""
    return _FRAME + _encode(person)


def decode(wire: bytes) -> Person | None:
    """Return the person; None where the bytes are not ours and never were.

    Raises InvariantError where a newer version wrote them: to forget would be to repeat.
    """
    if wire[:1] > _FRAME:
        raise InvariantError(
            f"State was written in format {wire[0]}, and this version reads up to {_FORMAT}: "
            "run the newer version."
        )
    try:
        if wire[:1] == _FRAME:
            return _decode(wire[1:])
        return _with_times(_decode(wire[1:])) if wire[:1] == _TIMELESS else None
    except msgspec.MsgspecError:
        return None


def _with_times(person: Person) -> Person:
    scores = {model: widened(history) for model, history in person.scores.items()}
    return msgspec.structs.replace(person, scores=scores)


def merge_wires(one: bytes, other: bytes, limits: PersonLimits) -> bytes:
    """Return what both say together; what is not ours says nothing."""
    mine, theirs = decode(one), decode(other)
    if mine is None or theirs is None:
        return one if theirs is None else other
    return encode(merge(mine, theirs, limits))
