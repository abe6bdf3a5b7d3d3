"""Score records in Confluent-framed Avro, as a connector with a schema registry writes them."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import msgspec

SCORE_ROW = Path(__file__).with_name("score_row.avsc").read_text()
"""The profile-shaped score record as an Avro schema."""


def framed_avro(schema_id: int, schema: str = SCORE_ROW) -> Callable[[dict[str, Any]], bytes]:
    """Return an encoder of records framed with a schema id: a zero byte, the id, the Avro."""
    parsed, head = (
        fastavro.parse_schema(msgspec.json.decode(schema)),
        struct.pack(">bI", 0, schema_id),
    )

    def encode(content: dict[str, Any]) -> bytes:
        buffer = io.BytesIO(head)
        buffer.seek(len(head))
        fastavro.schemaless_writer(buffer, parsed, content)
        return buffer.getvalue()

    return encode
