"""Decoded records, experience events, and the score events that are sent."""

from typing import NamedTuple

import msgspec

from processor.domain.outcome import FilterRule, Reject
from processor.domain.record import Record, RecordPosition
from processor.domain.score import Identity, Score


class Fact(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The fields of an experience event that a score event's context uses.

    Positional in the store and in Kafka: new fields go last, with a default. `id` is the event's
    `_id` (or a digest of its content where it has none); `(time_ms, id)` orders and names a fact.
    `kinds` are standard event types (`productViews`, `purchases`, `webVisit`, ...) the event counts
    for, by Customer AI's own table (AEP, Customer AI "data requirements").
    """

    time_ms: int
    id: str
    type: str = ""
    kinds: tuple[str, ...] = ()
    success: bool = False
    page: str = ""
    campaign: str = ""
    order_id: str = ""
    cohort: str = ""
    audiences: tuple[str, ...] = ()


class ExperienceEvent(msgspec.Struct, frozen=True):
    """An experience event of any of Customer AI's four inputs: its identities and its fact."""

    identities: tuple[Identity, ...]
    fact: Fact


class RepartitionMessage(msgspec.Struct, frozen=True, array_like=True):
    """The facts and scores of a record, on their way to the partition of its person.

    `person` is the key under which state is kept; `position` is that of the record, where it has
    scores. Positional in Kafka: new fields go last, with a default.
    """

    person: bytes
    fact: Fact | None = None
    scores: tuple[Score, ...] = ()
    position: RecordPosition | None = None


class DecodedRecord(msgspec.Struct, frozen=True):
    """The content of one record.

    A record may carry several scores of which some are bad (`rejects`, one each), an experience
    event, or both. `rule` is set where a named rule filters the whole record. `needs_repartition`
    means that the record is not on the partition of its person; `repartitioned` is the message that
    a record of the repartition topic carries (its scores are in `scores`).
    """

    scores: tuple[Score, ...] = ()
    event: ExperienceEvent | None = None
    rejects: tuple[Reject, ...] = ()
    rule: FilterRule | None = None
    needs_repartition: bool = False
    repartitioned: RepartitionMessage | None = None


class ScoreEvent(msgspec.Struct, frozen=True):
    """One XDM ExperienceEvent, ready to send.

    `id` is its `_id`, `body` the serialised XDM entity (no envelope). `digest` is of the content of
    the score alone, never of its context. `person` is the key of the person's state. `score` is in
    the body too, and here for metrics. `position` is that of `record`, or, where this is a message
    of the repartition topic, of the record it was made of.
    """

    id: str
    route: str
    model: str
    body: bytes
    scored_at_ms: int
    digest: bytes
    person: bytes
    record: Record
    score: float = 0.0
    position: RecordPosition = RecordPosition()


class SuspectHistory(msgspec.Struct, frozen=True):
    """What is known of an event that fails alone, for the replica that sends it next.

    `written_ms` is the Kafka time of its record: a topic made anew has other records at the same
    offsets. `others` were accepted meanwhile. The counts and times of the two conditions of
    `sink/suspect.py` follow, in milliseconds since the epoch.
    """

    written_ms: int
    attempts: int
    since_ms: int
    others: int
    undisturbed: int
    undisturbed_ms: int
    spaced: int
    spaced_ms: int


class RetriedEvent(NamedTuple):
    """A score event that is sent again and again: the record it came from, and how it fails.

    `attempts` failed in a row, the first at `since_ms`; `cause` is what the last one came to. One
    that failed alone has a `history`.
    """

    origin: str
    route: str
    attempts: int
    since_ms: int
    cause: str
    history: SuspectHistory | None = None

    @property
    def key(self) -> str:
        """The name under which its history is kept: route and record."""
        return f"{self.route}/{self.origin}"
