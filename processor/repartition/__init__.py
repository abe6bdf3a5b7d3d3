"""Facts written to the partition of their person, where events are keyed otherwise."""
