"""The Confluent frame: a magic byte and a schema id in front of the message."""

from processor.errors import RejectError
from processor.outcome import Reason, Stage

__all__ = ["FRAME_BYTES", "framed_id", "unframe"]

FRAME_BYTES = 5
_MAGIC = 0
_GUID_MAGIC = 1


def framed_id(value: bytes | None) -> int | None:
    """Return the schema id of a framed value, None where there is no whole frame.

    JSON never begins with byte 0, so a frame can be told from it.
    """
    if not value or value[0] != _MAGIC or len(value) < FRAME_BYTES:
        return None
    return int.from_bytes(value[1:FRAME_BYTES], "big")


def unframe(value: bytes) -> tuple[int, bytes]:
    """Return the schema id and the message; RejectError(bad_frame) where no frame is read here."""
    schema_id = framed_id(value)
    if schema_id is None:
        raise RejectError(Stage.DECODE, Reason.BAD_FRAME, _fault(value))
    return schema_id, value[FRAME_BYTES:]


def _fault(value: bytes) -> str:
    if value[:1] == bytes([_GUID_MAGIC]):
        return "The frame names its schema by GUID (magic byte 1); only schema ids are read."
    if value[:1] == bytes([_MAGIC]):
        return f"A frame has {FRAME_BYTES} bytes before the message; the value has {len(value)}."
    return "The value does not begin with the magic byte 0 of a schema registry frame."
