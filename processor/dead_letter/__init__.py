"""Rejected records out, with their original bytes and a reason; and back, by replay."""
