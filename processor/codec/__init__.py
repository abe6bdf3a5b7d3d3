"""Bytes to values: frames, schemas, guards, and the readers of scores and events.

bytes -> size, frame, schema, structure -> entity -> identities, scores, facts -> Reading
"""

from processor.codec.reader import Reader
from processor.codec.schemas import SchemaSource
from processor.codec.sources import schema_source

__all__ = ["Reader", "SchemaSource", "schema_source"]
