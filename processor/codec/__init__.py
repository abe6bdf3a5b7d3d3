"""Bytes to values: frames, schemas, guards, and the readers of scores and events.

bytes -> size, frame, schema, structure -> entity -> identities, scores, facts -> Reading
"""

from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.codec.schemas import SchemaSource

__all__ = ["InputReader", "SchemaSource", "schema_source"]
