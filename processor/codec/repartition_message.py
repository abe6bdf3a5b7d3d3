"""What is forwarded of an experience event, as bytes: a format number, then MessagePack.

Within a format fields are only ever added at the end, with a default, so each version reads what an
older one wrote and skips what a newer one added.
"""

from typing import Final

import msgspec

from processor.domain.errors import RejectError
from processor.domain.event import RepartitionMessage
from processor.domain.outcome import Reason, Stage

_FORMAT: Final = 1
_FRAME: Final = bytes([_FORMAT])

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(RepartitionMessage).decode


def encode(repartitioned: RepartitionMessage) -> bytes:
    """Return the value of a message of the internal topic."""
    return _FRAME + _encode(repartitioned)


def decode(value: bytes) -> RepartitionMessage:
    """Return what was forwarded; RejectError where the value is not ours, or not whole."""
    if value[:1] != _FRAME:
        raise _malformed(f"It is in another format than {_FORMAT}: a newer version's, or not ours.")
    try:
        repartitioned = _decode(value[1:])
    except msgspec.MsgspecError:
        raise _malformed("It is no forwarded experience event.") from None
    if b"|" not in repartitioned.person:
        raise _malformed("It names no person.")
    return repartitioned


def key_of(person: bytes, *, namespaced: bool) -> bytes:
    """Return the Kafka key of a person's messages, the same as their scores': the id alone, or all.

    `person` is a person key, `Namespace|id`; no namespace holds a bar.
    """
    return person if namespaced else person.partition(b"|")[2]


def _malformed(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.MALFORMED, detail)
