"""What is forwarded of an experience event, as bytes: a format number, then MessagePack.

Within a format fields are only ever added at the end, with a default, so each version reads what an
older one wrote and skips what a newer one added.
"""

from typing import Final

import msgspec

from processor.errors import RejectError
from processor.event import Forwarded
from processor.outcome import Reason, Stage

__all__ = ["decode", "encode", "key_of"]

_FORMAT: Final = 1
_FRAME: Final = bytes([_FORMAT])

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Forwarded).decode


def encode(forwarded: Forwarded) -> bytes:
    """Return the value of a message of the internal topic."""
    return _FRAME + _encode(forwarded)


def decode(value: bytes) -> Forwarded:
    """Return what was forwarded; RejectError where the value is not ours, or not whole."""
    if value[:1] != _FRAME:
        raise _malformed(f"It is in another format than {_FORMAT}: a newer version's, or not ours.")
    try:
        forwarded = _decode(value[1:])
    except msgspec.MsgspecError:
        raise _malformed("It is no forwarded experience event.") from None
    if b"|" not in forwarded.person:
        raise _malformed("It names no person.")
    return forwarded


def key_of(person: bytes, *, namespaced: bool) -> bytes:
    """Return the Kafka key of a person's messages, the same as their scores': the id alone, or all.

    `person` is a person key, `Namespace|id`; no namespace holds a bar.
    """
    return person if namespaced else person.partition(b"|")[2]


def _malformed(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.MALFORMED, detail)
