"""Bytes to values: decoders for each format, and the readers of scores and experience events.

bytes -> value (`decoder`) -> entity and identities (`entity`) -> scores, fact -> DecodedRecord

Scores are read in one of two ways, with the same result; `InputReader` tries the fast one first:

- `fast_path.FastScoreReader`: decodes a record by type, where it has the most frequent form;
- `scores.ScoreReader`: the general way, for every form a record may have, with reject reasons.
"""
