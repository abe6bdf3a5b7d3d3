"""The side door: facts out, to the partition of their person, and in again by the left door."""
