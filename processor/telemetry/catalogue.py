"""The catalogue: every metric of the processor, declared once, with its closed label values.

The table in `deploy/observability/README.md` is generated from it.
"""

from typing import Literal

from processor.domain.errors import StopCause
from processor.domain.outcome import (
    REASONS,
    Cause,
    ContextStatus,
    FilterRule,
    Movement,
    Outcome,
    Reason,
    Stage,
)
from processor.telemetry.labels import (
    AttemptResult,
    Callback,
    CorrectionResult,
    ItemResult,
    LoopStage,
    OffsetLoss,
    PauseCause,
    Quota,
    RebalanceKind,
    ReleaseCause,
    State,
    WaitResult,
)
from processor.telemetry.metric_types import (
    AnyMetric,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Label,
    Metric,
    labels,
)

DELAY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 21600, 86400)
_WAIT_SECONDS = (0.1, 0.5, 1, 5, 30, 60, 300, 900)
_REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_REQUEST_BYTES = (1e3, 1e4, 5e4, 1e5, 2.5e5, 5e5, 7.5e5, 9e5, 1e6)
_REQUEST_ITEMS = (1, 10, 50, 100, 250, 500, 1000, 5000)
_AGE_SECONDS = (60, 3600, 21600, 86400, 2 * 86400, 7 * 86400, 30 * 86400, 90 * 86400, 365 * 86400)

_TOPIC = Label[str]("topic")
_PARTITION = Label[str]("partition")
_ROUTE = Label[str]("route")
_CAUSE = Label[Cause](
    "cause", tuple(each for each in Cause if each not in {Cause.NONE, Cause.STOPPED})
)
_DOUBT = Label[Cause](
    "cause",
    (
        Cause.SERVER,
        Cause.SHAPE,
        Cause.TIMEOUT,
        Cause.RESET,
        Cause.STOPPED,
        Cause.UNDELIVERABLE,
    ),
)
_REFUSAL = Label[Reason]("reason", (Reason.REFUSED, Reason.EVENT_TOO_LARGE, Reason.UNDELIVERABLE))
_BREAKER = Label[Cause](
    "cause",
    tuple(
        each
        for each in _CAUSE.values
        if each not in {Cause.REFUSED, Cause.TOO_LARGE, Cause.UNDELIVERABLE}
    ),
)
_ATTEMPT = Label("result", AttemptResult)

# Conservation: consumed = settled + released + unsettled, per process life.
RECORDS_CONSUMED = CounterMetric("records_consumed", "Records consumed from Kafka.", labels(_TOPIC))
RECORDS_SETTLED = CounterMetric(
    "records_settled", "Records settled, by outcome.", labels(_TOPIC, Label("outcome", Outcome))
)
RECORDS_RELEASED = CounterMetric(
    "records_released",
    "Records released unsettled, to be read again.",
    labels(_TOPIC, Label("cause", ReleaseCause)),
)
RECORDS_UNSETTLED = GaugeMetric(
    "records_unsettled", "Records consumed and not settled now.", labels()
)
UNACCOUNTED_RECORDS = GaugeMetric(
    "unaccounted_records",
    "Consumed less settled, released and unsettled; alert unless 0.",
    labels(),
)
RECORDS_FILTERED = CounterMetric(
    "records_filtered",
    "Records, and scores in them, filtered by a rule.",
    labels(Label("rule", FilterRule)),
)
OFFSET_GAP_RECORDS = CounterMetric(
    "offset_gap_records", "Input offsets skipped for an unknown reason.", labels(_TOPIC)
)
RETENTION_OVERRUN_RECORDS = CounterMetric(
    "retention_overrun_records", "Records Kafka deleted before they were read.", labels(_TOPIC)
)
LOST_OFFSETS = CounterMetric(
    "lost_offsets",
    "Partitions that could not be read on where the group had got to, by cause.",
    labels(_TOPIC, Label("cause", OffsetLoss)),
)
REREAD_RECORDS = CounterMetric(
    "reread_records", "Records read again because the group's offset was lost.", labels(_TOPIC)
)
TOPICS_RECREATED = CounterMetric(
    "topics_recreated", "Times a topic was deleted and created anew meanwhile.", labels(_TOPIC)
)
PARTITIONS_CHANGED = GaugeMetric(
    "partitions_changed",
    "1 where a topic has another number of partitions than person state was made for.",
    labels(_TOPIC),
)

# Time.
SETTLED_WATERMARK_TIMESTAMP_SECONDS = GaugeMetric(
    "settled_watermark_timestamp_seconds",
    "Every record up to this Kafka time is settled; the current time when caught up.",
    labels(_TOPIC, _PARTITION),
)
DELIVERY_DELAY_SECONDS = HistogramMetric(
    "delivery_delay_seconds",
    "From the record's Kafka time to its acceptance by the inlet.",
    labels(_ROUTE),
    DELAY_BUCKETS,
)
EVENT_AGE_SECONDS = HistogramMetric(
    "event_age_seconds",
    "From the score date to acceptance; CJA queues what is older than a day as a backfill.",
    labels(_ROUTE),
    _AGE_SECONDS,
)
LATE_SCORES = CounterMetric(
    "late_scores", "Scores dated before today (UTC): late for CJA.", labels(_ROUTE)
)
LOOP_TURN_TIMESTAMP_SECONDS = GaugeMetric(
    "loop_turn_timestamp_seconds", "Time of the last turn of the main loop.", labels()
)
STAGE_BUSY_SECONDS = CounterMetric(
    "stage_busy_seconds",
    "Time spent in the main loop, by stage.",
    labels(Label("stage", LoopStage)),
)

# Kafka.
LAG_RECORDS = GaugeMetric(
    "lag_records", "Records in Kafka that are not committed.", labels(_TOPIC, _PARTITION)
)
ASSIGNED_PARTITIONS = GaugeMetric(
    "assigned_partitions", "Partitions assigned to this replica.", labels(_TOPIC)
)
REBALANCES = CounterMetric(
    "rebalances", "Changes of the assignment.", labels(Label("kind", RebalanceKind))
)
COMMITS = CounterMetric("commits", "Offset commits.", labels(_ATTEMPT))
LAST_COMMIT_TIMESTAMP_SECONDS = GaugeMetric(
    "last_commit_timestamp_seconds", "Time of the last acknowledged commit.", labels()
)
KAFKA_ERRORS = CounterMetric(
    "kafka_errors",
    "Errors reported by the Kafka client.",
    labels(Label[str]("code"), Label[Literal["true", "false"]]("fatal", ("true", "false"))),
)
CALLBACK_ERRORS = CounterMetric(
    "callback_errors",
    "Exceptions caught inside client callbacks.",
    labels(Label("callback", Callback)),
)
PAUSED_PARTITIONS = GaugeMetric(
    "paused_partitions", "Partitions paused, by cause.", labels(Label[str]("cause"))
)
PAUSED_SINCE_TIMESTAMP_SECONDS = GaugeMetric(
    "paused_since_timestamp_seconds",
    "Since when intake is paused for this cause; 0 while it is not.",
    labels(Label("cause", PauseCause)),
)
PAUSED_SECONDS = CounterMetric(
    "paused_seconds",
    "Time during which intake was paused, of any partition, by cause.",
    labels(Label("cause", PauseCause)),
)
PAUSED_AT_LIMIT = GaugeMetric(
    "paused_at_limit",
    "1 while intake is paused at a limit until an operator resumes it.",
    labels(Label("cause", StopCause)),
)
SCORE_WAITS = CounterMetric(
    "score_waits",
    "Scores that waited for earlier experience events.",
    labels(Label("result", WaitResult)),
)
SCORE_WAIT_SECONDS = HistogramMetric(
    "score_wait_seconds",
    "Time that scores waited for earlier experience events.",
    labels(),
    _WAIT_SECONDS,
)

# Destination.
REQUESTS = CounterMetric(
    "requests",
    "Requests to an inlet; code is an HTTP status or a transport fault.",
    labels(_ROUTE, Label[str]("code")),
)
REQUEST_DURATION_SECONDS = HistogramMetric(
    "request_duration_seconds",
    "Time from a request to its response.",
    labels(_ROUTE),
    _REQUEST_SECONDS,
)
REQUEST_BYTES = HistogramMetric(
    "request_bytes", "Size of a request body.", labels(_ROUTE), _REQUEST_BYTES
)
REQUEST_ITEMS = HistogramMetric(
    "request_items", "Events in a request.", labels(_ROUTE), _REQUEST_ITEMS
)
ITEMS = CounterMetric(
    "items", "Events by the inlet's result for them.", labels(_ROUTE, Label("result", ItemResult))
)
ITEM_REFUSALS = CounterMetric(
    "item_refusals",
    "Events that were refused.",
    labels(_ROUTE, _REFUSAL),
)
RETRIES = CounterMetric("retries", "Requests sent again.", labels(_ROUTE, _CAUSE))
REQUESTS_IN_FLIGHT = GaugeMetric("requests_in_flight", "Requests in flight.", labels(_ROUTE))
REQUESTS_IN_FLIGHT_LIMIT = GaugeMetric(
    "requests_in_flight_limit", "The adaptive limit of requests in flight.", labels(_ROUTE)
)
CIRCUIT_OPEN = GaugeMetric(
    "circuit_open",
    "1 while the circuit breaker of an inlet is open.",
    labels(_ROUTE, _BREAKER),
)
QUOTA_USED_RATIO = GaugeMetric(
    "quota_used_ratio",
    "Used share of the inlet's rate limit.",
    labels(_ROUTE, Label("quota", Quota)),
)
ITEMS_IN_DOUBT = CounterMetric(
    "items_in_doubt",
    "Events sent whose response is unknown.",
    labels(_ROUTE, _DOUBT),
)
ITEMS_RESENT = CounterMetric(
    "items_resent", "Events sent again after an unknown response.", labels(_ROUTE)
)
FAILING_RECORDS = GaugeMetric(
    "failing_records",
    "Events that failed three times alone in a request and are sent again.",
    labels(_ROUTE),
)
FAILING_SINCE_TIMESTAMP_SECONDS = GaugeMetric(
    "failing_since_timestamp_seconds",
    "Time of the first failure of the event that fails alone for longest; 0 where none does.",
    labels(_ROUTE),
)
FAILING_RECORD_INFO = GaugeMetric(
    "failing_record_info",
    "Always 1; the record, as topic/partition/offset, of the event that fails alone for longest.",
    labels(_ROUTE, Label[str]("record")),
)
TOKEN_EXPIRY_TIMESTAMP_SECONDS = GaugeMetric(
    "token_expiry_timestamp_seconds", "Expiry of the access token.", labels()
)
TOKEN_REFRESHES = CounterMetric("token_refreshes", "Token requests.", labels(_ATTEMPT))

# Rejects.
DEAD_LETTERS = CounterMetric(
    "dead_letters",
    "Dead letters acknowledged by Kafka.",
    labels(Label("stage", Stage), Label("reason", Reason)),
    combinations=tuple((stage, reason) for stage in Stage for reason in REASONS[stage]),
)
DEAD_LETTER_WRITES = CounterMetric(
    "dead_letter_writes", "Attempts to write a dead letter.", labels(_ATTEMPT)
)
MISPLACED_RECORDS = CounterMetric(
    "misplaced_records",
    "Records on another partition than their key's, of a sample; or with another key than the "
    "repartition topic has.",
    labels(_TOPIC),
)
PLACEHOLDER_IDENTITIES = CounterMetric(
    "placeholder_identities",
    "Identities with a placeholder as their id.",
    labels(Label[str]("namespace")),
)

# Join and state.
JOIN_LOOKUPS = CounterMetric(
    "join_lookups", "Contexts built for scores, by status.", labels(Label("result", ContextStatus))
)
JOIN_MATCH_AGE_SECONDS = HistogramMetric(
    "join_match_age_seconds", "Age of the newest event in a context.", labels(), _AGE_SECONDS
)
LATE_EVENTS = CounterMetric(
    "late_events", "Experience events older than a score already sent.", labels()
)
SCORES_BEFORE_LATE_EVENT = CounterMetric(
    "scores_before_late_event",
    "Scores sent before an event that is older than them was read.",
    labels(),
)
DUPLICATE_SCORES = CounterMetric(
    "duplicate_scores", "Scores delivered before with the same content.", labels(_ROUTE)
)
CORRECTIONS = CounterMetric(
    "corrections",
    "Delivered scores that came again with other content.",
    labels(_ROUTE, Label("result", CorrectionResult)),
)
STATE_ENTRIES = GaugeMetric("state_entries", "Persons in the local store.", labels())
STATE_BYTES = GaugeMetric("state_bytes", "Bytes in use in the local store.", labels())
STATE_RESTORE_REMAINING_RECORDS = GaugeMetric(
    "state_restore_remaining_records", "Changelog records still to restore.", labels(_PARTITION)
)
CHANGELOG_WRITES = CounterMetric(
    "changelog_writes", "State records written to the changelog.", labels(_ATTEMPT)
)
REPARTITION_WRITES = CounterMetric(
    "repartition_writes", "Facts written to the repartition topic.", labels(_ATTEMPT)
)
CONTROL_WRITES = CounterMetric(
    "control_writes", "Facts written to the control topic.", labels(_ATTEMPT)
)
CHANGELOG_DISTURBANCES = CounterMetric(
    "changelog_disturbances",
    "Times a changelog partition had writes by others, or lacked persons of the local store.",
    labels(),
)

# Scoring runs.
SCORE_RUN_RECORDS = CounterMetric(
    "score_run_records", "Scores delivered, by prediction.", labels(_ROUTE)
)
SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS = GaugeMetric(
    "score_run_last_date_timestamp_seconds", "Newest score date delivered.", labels(_ROUTE)
)
SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS = GaugeMetric(
    "score_run_last_seen_timestamp_seconds", "Time of the last delivered score.", labels(_ROUTE)
)
SCORE_VALUE = HistogramMetric(
    "score_value", "Scores delivered, in steps of ten.", labels(_ROUTE), tuple(range(10, 101, 10))
)
SCORE_MOVEMENTS = CounterMetric(
    "score_movements",
    "Moves between buckets since the previous score.",
    labels(_ROUTE, Label("movement", Movement)),
)

# Process.
BUILD_INFO = GaugeMetric(
    "build_info",
    "Always 1.",
    labels(Label[str]("version"), Label[str]("librdkafka"), Label[str]("python")),
)
READY = GaugeMetric(
    "ready",
    "1 for the current state of the replica; in `ready` and `idle` it is ready.",
    labels(Label("state", State)),
)
ROUTE_INFO = GaugeMetric(
    "route_info",
    "Always 1; the datasets behind the routes.",
    labels(_ROUTE, Label[str]("dataset"), Label[str]("schema")),
)

CATALOGUE: tuple[AnyMetric, ...] = tuple(
    each for each in list(globals().values()) if isinstance(each, Metric)
)
"""All metrics, in the order of their declarations."""
