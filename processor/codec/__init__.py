"""Bytes to values: frames, schemas, guards, and the readers of scores and events."""
