"""The closed sets of label values: what is known before anything happens begins at 0.

A label that is not listed has values that only running shows: partitions, namespaces, error codes.
"""

from processor.outcome import Fate, Rule
from processor.person import ContextStatus

__all__ = ["CLOSED", "values_of"]

CLOSED: dict[tuple[str, str], tuple[str, ...]] = {
    ("records_settled", "fate"): tuple(Fate),
    ("records_released", "cause"): ("revoked", "lost", "shutdown", "rewound"),
    ("records_filtered", "rule"): tuple(Rule),
    ("score_waits", "outcome"): ("none", "ok", "timeout"),
    ("rebalances", "kind"): ("assigned", "revoked", "lost"),
    ("commits", "outcome"): ("ok", "failed"),
    ("items", "outcome"): ("accepted", "refused", "retryable", "unknown"),
    ("token_refreshes", "outcome"): ("ok", "failed"),
    ("dead_letter_writes", "outcome"): ("ok", "failed"),
    ("changelog_writes", "outcome"): ("ok", "failed"),
    ("forward_writes", "outcome"): ("ok", "failed"),
    ("corrections", "outcome"): ("sent", "suppressed"),
    ("join_lookups", "outcome"): tuple(ContextStatus),
    ("quota_used_ratio", "quota"): ("requests", "messages"),
}


def values_of(metric: str, label: str) -> tuple[str, ...]:
    """Return the values a label of a metric can have, nothing where they are open."""
    return CLOSED.get((metric, label), ())
