"""A fact as bytes: it is stored encoded, and decoded only when a score needs it.

Without its first byte a fact sorts by time and then by id, in one fixed order. The part up to the
end of the id is its sort key, which names the fact. The table of bytes is in the package docstring.
"""

from typing import Final

import msgspec

from processor.domain.event import Fact

EARLIEST_MS: Final = 1 << 32
"""Facts from before 20 February 1970 are not stored: MessagePack would encode their times in fewer
than eight bytes, and they would not sort."""

_TIME: Final = 2  # behind the array header and the header of the time
_ID: Final = 10
_FIXSTR, _STR8 = 0xA0, 0xD9

encode_fact: Final = msgspec.msgpack.Encoder().encode
"""Return a fact as bytes."""

decode_fact: Final = msgspec.msgpack.Decoder(Fact).decode
"""Return the fact of these bytes."""


def time_of(encoded: bytes) -> int:
    """Return the time of a fact in epoch milliseconds."""
    return int.from_bytes(encoded[_TIME:_ID])


def time_key_of(encoded: bytes) -> bytes:
    """Return the time of a fact as eight bytes that sort."""
    return encoded[_TIME:_ID]


def sort_key_of(encoded: bytes) -> bytes:
    """Return time and id of a fact as bytes that sort; equal for the same fact only.

    It starts with the header of the time, at byte 1, and ends with the last byte of the id.
    """
    header = encoded[_ID]
    if header < _STR8:  # a string below 32 bytes: the header holds the length
        return encoded[1 : _ID + 1 + header - _FIXSTR]
    if header == _STR8:  # one byte of length
        return encoded[1 : _ID + 2 + encoded[_ID + 1]]
    return encoded[1 : _ID + 3 + int.from_bytes(encoded[_ID + 1 : _ID + 3])]  # two bytes of length


def time_of_sort_key(sort_key: bytes) -> int:
    """Return the time in a sort key, in epoch milliseconds."""
    return int.from_bytes(sort_key[_TIME - 1 : _ID - 1])
