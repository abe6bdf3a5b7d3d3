"""Rejected records in the dead-letter topic: written with a reason, and read for a replay."""
