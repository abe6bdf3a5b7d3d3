"""The catalogue as a table for people.

The closed sets of label values: what is known before anything happens begins at 0.

A label that is not listed has values that only running shows: partitions, namespaces, error codes.

Every metric, declared once: name, kind, labels with their values, meaning.

The table in `deploy/observability/README.md` is generated from it, and a test holds them together.
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
    MetricRow("records_consumed", _C, "Records handed to us by Kafka.", ("topic",)),
    MetricRow(
        "records_settled", _C, "Records that reached their final fate.", ("topic", "outcome")
    ),
    MetricRow(
        "records_released",
        _C,
        "Records given back unsettled; another reads them.",
        ("topic", "cause"),
    ),
    MetricRow("records_unsettled", _G, "Records under way now."),
    MetricRow(
        "unaccounted_records", _G, "Consumed less settled, released and unsettled; 0 or a page."
    ),
    MetricRow(
        "records_filtered", _C, "Records, and scores in them, that a rule filtered.", ("rule",)
    ),
    MetricRow("offset_gap_records", _C, "Input offsets skipped without explanation.", ("topic",)),
    MetricRow(
        "retention_overrun_records", _C, "Records Kafka deleted before we read them.", ("topic",)
    ),
    # Time.
    MetricRow(
        "settled_watermark_timestamp_seconds",
        _G,
        "Every record up to this Kafka time has a fate; now, when caught up.",
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
    MetricRow("loop_turn_timestamp_seconds", _G, "When the main loop last turned."),
    MetricRow("stage_busy_seconds", _C, "Time the main loop spent, by stage.", ("stage",)),
    # Kafka.
    MetricRow(
        "lag_records", _G, "Records in Kafka that are not committed yet.", ("topic", "partition")
    ),
    MetricRow("assigned_partitions", _G, "Partitions this replica owns.", ("topic",)),
    MetricRow("rebalances", _C, "Changes of the assignment.", ("kind",)),
    MetricRow("commits", _C, "Offset commits.", ("result",)),
    MetricRow("last_commit_timestamp_seconds", _G, "When a commit was last acknowledged."),
    MetricRow("kafka_errors", _C, "Errors the Kafka client reported.", ("code", "fatal")),
    MetricRow("callback_errors", _C, "Exceptions caught inside client callbacks.", ("callback",)),
    MetricRow("paused_partitions", _G, "Partitions paused on purpose.", ("cause",)),
    MetricRow("score_waits", _C, "Scores that waited for earlier experience events.", ("result",)),
    MetricRow("score_wait_seconds", _H, "How long they waited.", (), DELAY_BUCKETS),
    # Destination.
    MetricRow(
        "requests", _C, "Requests to an inlet; code is a status or a fault.", ("route", "code")
    ),
    MetricRow(
        "request_duration_seconds",
        _H,
        "Time to the answer.",
        ("route", "result"),
        _REQUEST_SECONDS,
    ),
    MetricRow("request_bytes", _H, "Size of a request body.", ("route",), _REQUEST_BYTES),
    MetricRow("request_items", _H, "Events in a request.", ("route",), _REQUEST_ITEMS),
    MetricRow("items", _C, "Events by what the inlet said of them.", ("route", "result")),
    MetricRow("item_refusals", _C, "Events refused for good.", ("route", "reason")),
    MetricRow("retries", _C, "Requests sent again.", ("route", "cause")),
    MetricRow("requests_in_flight", _G, "Requests under way.", ("route",)),
    MetricRow("requests_in_flight_limit", _G, "What the adaptive limit allows.", ("route",)),
    MetricRow("circuit_open", _G, "1 while an inlet is held off.", ("route", "reason")),
    MetricRow("quota_used_ratio", _G, "Share of the inlet's budget in use.", ("route", "quota")),
    MetricRow("items_in_doubt", _C, "Events sent whose answer is unknown.", ("route", "cause")),
    MetricRow("items_resent", _C, "Events sent again after doubt.", ("route",)),
    MetricRow("token_expiry_timestamp_seconds", _G, "When the access token ends."),
    MetricRow("token_refreshes", _C, "Token requests.", ("result",)),
    # Rejects.
    MetricRow("dead_letters", _C, "Dead letters acknowledged by Kafka.", ("stage", "reason")),
    MetricRow("dead_letter_writes", _C, "Attempts to write one.", ("result",)),
    MetricRow(
        "misplaced_records",
        _C,
        "Records on another partition than their key's, of the few looked at; or keyed otherwise "
        "than what is forwarded.",
        ("topic",),
    ),
    MetricRow("placeholder_identities", _C, "Identities that name nobody.", ("namespace",)),
    # Join and state.
    MetricRow("join_lookups", _C, "Contexts looked up for a score.", ("result",)),
    MetricRow(
        "join_match_age_seconds", _H, "Age of the newest event in a context.", (), _AGE_SECONDS
    ),
    MetricRow("late_events", _C, "Experience events older than a score already sent."),
    MetricRow("scores_before_late_event", _C, "Scores that had gone out before such an event."),
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
    MetricRow(
        "changelog_disturbances", _C, "Times somebody else had written to a changelog partition."
    ),
    # Scoring runs.
    MetricRow("score_run_records", _C, "Scores delivered, by prediction.", ("route",)),
    MetricRow("score_run_last_date_timestamp_seconds", _G, "Newest score date seen.", ("route",)),
    MetricRow(
        "score_run_last_seen_timestamp_seconds", _G, "When a score was last seen.", ("route",)
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
        "Moves between buckets since the score before.",
        ("route", "movement"),
    ),
    # Process.
    MetricRow("build_info", _G, "Always 1.", ("version", "librdkafka", "python")),
    MetricRow("ready", _G, "1 for the reason that holds now; `ready` means ready.", ("reason",)),
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
