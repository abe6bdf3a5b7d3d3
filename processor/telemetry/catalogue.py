"""The catalogue of metrics: name, kind, labels with their values, meaning.

The table in `deploy/observability/README.md` is generated from it.
"""

from enum import StrEnum
from typing import NamedTuple

from processor.domain.outcome import ContextStatus, FilterRule, Outcome

PREFIX = "cai_"

CLOSED: dict[tuple[str, str], tuple[str, ...]] = {
    ("records_settled", "outcome"): tuple(Outcome),
    ("records_released", "cause"): ("revoked", "lost", "shutdown", "rewound"),
    ("records_filtered", "rule"): tuple(FilterRule),
    ("score_waits", "result"): ("none", "ok", "timeout"),
    ("rebalances", "kind"): ("assigned", "revoked", "lost"),
    ("commits", "result"): ("ok", "failed"),
    ("items", "result"): ("accepted", "refused", "retryable", "unknown"),
    ("token_refreshes", "result"): ("ok", "failed"),
    ("dead_letter_writes", "result"): ("ok", "failed"),
    ("changelog_writes", "result"): ("ok", "failed"),
    ("repartition_writes", "result"): ("ok", "failed"),
    ("corrections", "result"): ("sent", "suppressed"),
    ("join_lookups", "result"): tuple(ContextStatus),
    ("quota_used_ratio", "quota"): ("requests", "messages"),
}


def values_of(metric: str, label: str) -> tuple[str, ...]:
    """Return the values a label of a metric can have, nothing where they are open."""
    return CLOSED.get((metric, label), ())


DELAY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 21600, 86400)


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricRow(NamedTuple):
    """One line of the catalogue. `name` has neither the `cai_` prefix nor a counter's `_total`."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REQUEST_BYTES = (1e3, 1e4, 5e4, 1e5, 2.5e5, 5e5, 7.5e5, 9e5, 1e6)
_REQUEST_ITEMS = (1, 10, 50, 100, 250, 500, 750, 1000, 2000, 5000)
_AGE_SECONDS = (60, 3600, 21600, 86400, 2 * 86400, 7 * 86400, 30 * 86400, 90 * 86400, 365 * 86400)

CATALOGUE: tuple[MetricRow, ...] = (
    # Conservation: consumed = settled + released + unsettled, per process life.
    MetricRow("records_consumed", _C, "Records consumed from Kafka.", ("topic",)),
    MetricRow("records_settled", _C, "Records settled, by outcome.", ("topic", "outcome")),
    MetricRow(
        "records_released",
        _C,
        "Records released unsettled, to be read again.",
        ("topic", "cause"),
    ),
    MetricRow("records_unsettled", _G, "Records consumed and not settled now."),
    MetricRow(
        "unaccounted_records", _G, "Consumed less settled, released and unsettled; alert unless 0."
    ),
    MetricRow(
        "records_filtered", _C, "Records, and scores in them, filtered by a rule.", ("rule",)
    ),
    MetricRow("offset_gap_records", _C, "Input offsets skipped for an unknown reason.", ("topic",)),
    MetricRow(
        "retention_overrun_records", _C, "Records Kafka deleted before they were read.", ("topic",)
    ),
    # Time.
    MetricRow(
        "settled_watermark_timestamp_seconds",
        _G,
        "Every record up to this Kafka time is settled; the current time when caught up.",
        ("topic", "partition"),
    ),
    MetricRow(
        "delivery_delay_seconds",
        _H,
        "From the record's Kafka time to its acceptance by the inlet.",
        ("route",),
        DELAY_BUCKETS,
    ),
    MetricRow(
        "event_age_seconds",
        _H,
        "From the score date to acceptance; CJA queues what is older than a day as a backfill.",
        ("route",),
        _AGE_SECONDS,
    ),
    MetricRow("late_scores", _C, "Scores dated before today (UTC): late for CJA.", ("route",)),
    MetricRow("loop_turn_timestamp_seconds", _G, "Time of the last turn of the main loop."),
    MetricRow("stage_busy_seconds", _C, "Time spent in the main loop, by stage.", ("stage",)),
    # Kafka.
    MetricRow(
        "lag_records", _G, "Records in Kafka that are not committed.", ("topic", "partition")
    ),
    MetricRow("assigned_partitions", _G, "Partitions assigned to this replica.", ("topic",)),
    MetricRow("rebalances", _C, "Changes of the assignment.", ("kind",)),
    MetricRow("commits", _C, "Offset commits.", ("result",)),
    MetricRow("last_commit_timestamp_seconds", _G, "Time of the last acknowledged commit."),
    MetricRow("kafka_errors", _C, "Errors reported by the Kafka client.", ("code", "fatal")),
    MetricRow("callback_errors", _C, "Exceptions caught inside client callbacks.", ("callback",)),
    MetricRow("paused_partitions", _G, "Partitions paused, by cause.", ("cause",)),
    MetricRow("score_waits", _C, "Scores that waited for earlier experience events.", ("result",)),
    MetricRow(
        "score_wait_seconds",
        _H,
        "Time that scores waited for earlier experience events.",
        (),
        DELAY_BUCKETS,
    ),
    # Destination.
    MetricRow(
        "requests",
        _C,
        "Requests to an inlet; code is an HTTP status or a transport fault.",
        ("route", "code"),
    ),
    MetricRow(
        "request_duration_seconds",
        _H,
        "Time from a request to its response.",
        ("route", "result"),
        _REQUEST_SECONDS,
    ),
    MetricRow("request_bytes", _H, "Size of a request body.", ("route",), _REQUEST_BYTES),
    MetricRow("request_items", _H, "Events in a request.", ("route",), _REQUEST_ITEMS),
    MetricRow("items", _C, "Events by the inlet's result for them.", ("route", "result")),
    MetricRow("item_refusals", _C, "Events refused for good.", ("route", "reason")),
    MetricRow("retries", _C, "Requests sent again.", ("route", "cause")),
    MetricRow("requests_in_flight", _G, "Requests in flight.", ("route",)),
    MetricRow(
        "requests_in_flight_limit", _G, "The adaptive limit of requests in flight.", ("route",)
    ),
    MetricRow(
        "circuit_open", _G, "1 while the circuit breaker of an inlet is open.", ("route", "reason")
    ),
    MetricRow("quota_used_ratio", _G, "Used share of the inlet's rate limit.", ("route", "quota")),
    MetricRow("items_in_doubt", _C, "Events sent whose response is unknown.", ("route", "cause")),
    MetricRow("items_resent", _C, "Events sent again after an unknown response.", ("route",)),
    MetricRow("token_expiry_timestamp_seconds", _G, "Expiry of the access token."),
    MetricRow("token_refreshes", _C, "Token requests.", ("result",)),
    # Rejects.
    MetricRow("dead_letters", _C, "Dead letters acknowledged by Kafka.", ("stage", "reason")),
    MetricRow("dead_letter_writes", _C, "Attempts to write a dead letter.", ("result",)),
    MetricRow(
        "misplaced_records",
        _C,
        "Records on another partition than their key's, of a sample; or with another key than the "
        "repartition topic has.",
        ("topic",),
    ),
    MetricRow(
        "placeholder_identities", _C, "Identities with a placeholder as their id.", ("namespace",)
    ),
    # Join and state.
    MetricRow("join_lookups", _C, "Contexts built for scores, by status.", ("result",)),
    MetricRow(
        "join_match_age_seconds", _H, "Age of the newest event in a context.", (), _AGE_SECONDS
    ),
    MetricRow("late_events", _C, "Experience events older than a score already sent."),
    MetricRow(
        "scores_before_late_event",
        _C,
        "Scores sent before an event that is older than them was read.",
    ),
    MetricRow("duplicate_scores", _C, "Scores delivered before with the same content.", ("route",)),
    MetricRow(
        "corrections",
        _C,
        "Delivered scores that came again with other content.",
        ("route", "result"),
    ),
    MetricRow("state_entries", _G, "Persons in the local store."),
    MetricRow("state_bytes", _G, "Bytes in use in the local store."),
    MetricRow(
        "state_restore_remaining_records", _G, "Changelog records still to restore.", ("partition",)
    ),
    MetricRow("changelog_writes", _C, "State records written to the changelog.", ("result",)),
    MetricRow("repartition_writes", _C, "Facts written to the repartition topic.", ("result",)),
    MetricRow("changelog_disturbances", _C, "Foreign writes found in a changelog partition."),
    # Scoring runs.
    MetricRow("score_run_records", _C, "Scores delivered, by prediction.", ("route",)),
    MetricRow(
        "score_run_last_date_timestamp_seconds", _G, "Newest score date delivered.", ("route",)
    ),
    MetricRow(
        "score_run_last_seen_timestamp_seconds", _G, "Time of the last delivered score.", ("route",)
    ),
    MetricRow(
        "score_value",
        _H,
        "Scores delivered, in steps of five.",
        ("route",),
        tuple(range(5, 101, 5)),
    ),
    MetricRow(
        "score_movements",
        _C,
        "Moves between buckets since the previous score.",
        ("route", "movement"),
    ),
    # Process.
    MetricRow("build_info", _G, "Always 1.", ("version", "librdkafka", "python")),
    MetricRow(
        "ready", _G, "1 for the current state of the replica; `ready` means ready.", ("reason",)
    ),
    MetricRow(
        "route_info",
        _G,
        "Always 1; the datasets behind the routes.",
        ("route", "dataset", "schema"),
    ),
)


def metric_table() -> str:
    """Render the catalogue as a Markdown table, in the catalogue's order."""
    head = "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n"
    return head + "".join(_line(row) for row in CATALOGUE)


def exposed_name(row: MetricRow) -> str:
    """Return the name under which Prometheus sees a metric."""
    return f"{PREFIX}{row.name}{'_total' if row.kind is Kind.COUNTER else ''}"


def _line(row: MetricRow) -> str:
    labels = "; ".join(_label(row, label) for label in row.labels)
    return f"| `{exposed_name(row)}` | {row.kind} | {labels} | {row.meaning} |\n"


def _label(row: MetricRow, label: str) -> str:
    values = values_of(row.name, label)
    return f"{label}: {', '.join(values)}" if values else label
