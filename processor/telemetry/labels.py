"""The closed sets of label values: a series of each value starts at 0."""

from enum import StrEnum


class State(StrEnum):
    """The state of a replica."""

    STARTING = "starting"
    JOINING = "joining"
    """Not a member of the group yet, or a new assignment is being made."""
    IDLE = "idle"
    """A member without partitions, because there are more members than partitions: ready."""
    RESTORING = "restoring"
    """Person state is being restored from the changelog."""
    PAUSED = "paused"
    """Dead letters, person state or repartitioned facts cannot be written, so intake is paused."""
    STOPPING = "stopping"
    READY = "ready"


class LoopStage(StrEnum):
    """The stages of the main loop whose time is measured."""

    POLL = "poll"
    DECODE = "decode"
    LOAD = "load"
    PLAN = "plan"


class PauseCause(StrEnum):
    """Why the loop pauses intake."""

    DESTINATION = "destination"
    DEAD_LETTERS = "dead_letters"
    STATE = "state"
    RESTORING = "restoring"
    """Person state is being restored; this pauses the affected partitions only."""
    REPARTITION = "repartition"
    COMMIT = "commit"
    CONTROL = "control"
    REGISTRY = "registry"
    WINDOW = "window"
    OPERATOR = "operator"
    """The command `pause`."""
    REJECT_LIMIT = "reject_limit"
    """Too many rejects; until the command `resume`."""
    GAP = "gap"
    """Records are gone that were not read; until the command `resume`."""
    TOPICS = "topics"
    """A topic is missing, or has partitions without state; the other partitions go on."""


class AttemptResult(StrEnum):
    """The result of an attempt to write, to commit or to get a token."""

    OK = "ok"
    FAILED = "failed"


class Callback(StrEnum):
    """A callback of a Kafka client."""

    ERROR = "error"
    COMMIT = "commit"
    ASSIGN = "assign"
    REVOKE = "revoke"
    LOST = "lost"
    DELIVERY = "delivery"
    """The report on a written message."""


class ReleaseCause(StrEnum):
    """Why records were released unsettled."""

    REVOKED = "revoked"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    REWOUND = "rewound"


class OffsetLoss(StrEnum):
    """Why a partition cannot be read on where the group had got to."""

    BELOW_START = "below_start"
    """Kafka deleted the records there before they were read."""
    BEYOND_END = "beyond_end"
    """The log ends before: it was truncated or restored, or the offset was set by hand."""
    TOPIC_RECREATED = "topic_recreated"
    """The topic was deleted and created anew."""
    GROUP_OFFSETS_GONE = "group_offsets_gone"
    """The group has been here, and its committed offset expired or was deleted."""


class RebalanceKind(StrEnum):
    """The kind of a change of the assignment."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"


class WaitResult(StrEnum):
    """How the wait of a score for earlier experience events ended."""

    NONE = "none"
    """There was nothing to wait for."""
    OK = "ok"
    """The events were read."""
    TIMEOUT = "timeout"
    """They were not read in time: the context is partial."""


class ItemResult(StrEnum):
    """The inlet's result for one event."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRYABLE = "retryable"
    UNKNOWN = "unknown"


class CorrectionResult(StrEnum):
    """Whether a correction was sent, by `join.corrections`."""

    SENT = "sent"
    SUPPRESSED = "suppressed"


class Quota(StrEnum):
    """The two rate limits of an inlet."""

    REQUESTS = "requests"
    MESSAGES = "messages"
