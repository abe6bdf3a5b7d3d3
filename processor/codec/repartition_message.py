"""The messages of the repartition topic as bytes: a format number, then MessagePack.

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


def encode(message: RepartitionMessage) -> bytes:
    """Return the value of a message of the repartition topic."""
    if message.position is None:
        return _FRAME + _encode((message.person, message.fact, message.scores))
    return _FRAME + _encode(message)


def decode(value: bytes) -> RepartitionMessage:
    """Return the message; RejectError where the value has another format or is not whole."""
    if value[:1] != _FRAME:
        raise _malformed(f"It is in another format than {_FORMAT}: a newer version's, or not ours.")
    try:
        message = _decode(value[1:])
    except msgspec.MsgspecError:
        raise _malformed("It is no forwarded experience event.") from None
    if b"|" not in message.person:
        raise _malformed("It names no person.")
    return message


def key_of(person: bytes, *, namespaced: bool) -> bytes:
    """Return the Kafka key of a person's messages, the same as that of their scores.

    `person` is a person key, `Namespace|id`; the key is all of it where it is `namespaced`, else
    the id. No namespace contains a bar.
    """
    return person if namespaced else person.partition(b"|")[2]


def _malformed(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.MALFORMED, detail)
