"""The state of persons: byte formats, local store, changelog topic and its restore."""
