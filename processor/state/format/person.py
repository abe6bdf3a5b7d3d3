"""The value of a person: the same bytes in the changelog and in the local store.

They are a format number and MessagePack. Within a format fields are only ever added at the end,
with a default, so each version reads what an older one wrote and skips what a newer one added.
Equal persons have equal bytes. Formats 1 and 2 had no offsets in score histories, format 1 no
record times either; they are read as not known.
"""

from typing import Final

import msgspec

from processor.domain.errors import InvariantError
from processor.state.format.score_history import from_older
from processor.state.person import Person, PersonLimits, merge

_FORMAT: Final = 3
_PREFIX: Final = bytes([_FORMAT])
_OLDER: Final = frozenset({b"\x01", b"\x02"})

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(Person).decode


def encode(person: Person) -> bytes:
    """Return the value of a person."""
    return _PREFIX + _encode(person)


def decode(value: bytes) -> Person | None:
    """Return the person of a value; None where it was written by no version of this program.

    Raises InvariantError where a newer version wrote it: without that person's state, delivered
    scores would be sent again.
    """
    prefix = value[:1]
    if prefix > _PREFIX:
        raise InvariantError(
            f"State was written in format {value[0]}, and this version reads up to {_FORMAT}: "
            "run the newer version."
        )
    if prefix != _PREFIX and prefix not in _OLDER:
        return None
    try:
        person = _decode(value[1:])
    except msgspec.MsgspecError:
        return None
    if prefix == _PREFIX:
        return person
    scores = {model: from_older(old, value[0]) for model, old in person.scores.items()}
    return msgspec.structs.replace(person, scores=scores)


def merge_values(one: bytes, other: bytes, limits: PersonLimits) -> bytes:
    """Return the value of the merged person; a value that cannot be decoded adds nothing."""
    mine, theirs = decode(one), decode(other)
    if mine is None or theirs is None:
        return one if theirs is None else other
    return encode(merge(mine, theirs, limits))
