"""A fact as it is kept: encoded, and not decoded until somebody wants to look at it.

It is the fact's MessagePack array: a header byte (up to 15 fields), the time as `CF` and eight
big-endian bytes (from 2**32 on), the id as a string, the rest. Without its first byte it therefore
sorts by time and then by id, in one fixed order, and the part up to the end of the id is its name.
"""

from typing import Final

import msgspec

from processor.domain.event import Fact

EARLIEST_MS: Final = 1 << 32
"""Facts from before 20 February 1970 are not kept: their times would be encoded otherwise."""

_ID: Final = 10
_FIXSTR, _STR8 = 0xA0, 0xD9

pack: Final = msgspec.msgpack.Encoder().encode
"""Return a fact as it is kept."""

unpack: Final = msgspec.msgpack.Decoder(Fact).decode
"""Return the fact that is kept so."""


def time_of(kept: bytes) -> int:
    """Return when it happened, in epoch milliseconds."""
    return int.from_bytes(kept[2:_ID])


def instant_of(kept: bytes) -> bytes:
    """Return when it happened, as bytes that sort."""
    return kept[2:_ID]


def name_of(kept: bytes) -> bytes:
    """Return time and id, as bytes that sort."""
    kind = kept[_ID]
    if kind < _STR8:
        return kept[1 : _ID + 1 + kind - _FIXSTR]
    if kind == _STR8:
        return kept[1 : _ID + 2 + kept[_ID + 1]]
    return kept[1 : _ID + 3 + int.from_bytes(kept[_ID + 1 : _ID + 3])]
