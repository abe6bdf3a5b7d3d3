"""The values that all packages share: records, scores, events, outcomes, errors and time."""
