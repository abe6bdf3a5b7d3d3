"""What Kafka says of the topics that are read or written: their ids and partition counts.

A topic that was deleted and created anew under its name has another id. Nothing else shows it: the
consumer reads on at the old offset, which means other records in the new topic.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from processor.domain.clock import Clock, Deadline
from processor.domain.retry import spread
from processor.kafka.admin import TopicLayout
from processor.kafka.queries import TopicDescription, TopicQuery
from processor.source.group_records import GroupRecords

_REFRESH_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 60.0
"""A broker that answers with the id of a deleted topic has old metadata, for seconds at most."""


class _Metadata(msgspec.Struct):
    topic_id: str = ""


def commit_metadata(topic_id: str) -> str:
    """Return the text to store beside a committed offset: to which topic it belongs."""
    return msgspec.json.encode(_Metadata(topic_id)).decode() if topic_id else ""


def topic_id_of(metadata: str) -> str:
    """Return the topic id stored beside a committed offset; empty where there is none."""
    try:
        return msgspec.json.decode(metadata, type=_Metadata).topic_id
    except msgspec.MsgspecError:
        return ""


def is_recreated(before: str, now: str) -> bool:
    """Return True where two topic ids are those of namesakes in one cluster.

    Offsets that came from another cluster were translated by whoever copied them.
    """
    cluster, _, _ = before.partition(":")
    return bool(before and now) and before != now and now.startswith(f"{cluster}:")


class TopicWatch:
    """Queries topics about every second, without waiting for the answers.

    An id is `cluster:topic`. It is empty where the broker has no ids, as the embedded one.
    """

    def __init__(self, layout: TopicLayout, records: GroupRecords, clock: Clock) -> None:
        self._records = records
        self._stale_since: dict[str, float] = {}
        self._last_ids: dict[str, str] = {}
        self._layout = layout
        self._clock = clock
        self._due = Deadline(clock, 0)
        self._query: TopicQuery | None = None
        self._cluster = ""
        self._began = self._answered = float("-inf")
        self.topics: Mapping[str, TopicDescription | None] = {}
        """The newest answers; None for a topic that does not exist."""

    def id_of(self, topic: str) -> str:
        """Return a topic's id; empty where it is unknown or there is none."""
        found = self.topics.get(topic)
        return f"{self._cluster}:{found.id}" if found is not None and found.id else ""

    def is_missing(self, topic: str) -> bool:
        """Return True where a topic does not exist."""
        return topic in self.topics and self.topics[topic] is None

    def answered_since(self, moment: float) -> bool:
        """Return True where the newest answers are to a query made at or after a moment."""
        return self._answered >= moment

    def hurry(self) -> None:
        """Query again at once."""
        self._due = Deadline(self._clock, 0)

    def refresh(self, topics: Iterable[str]) -> bool:
        """Query these topics when it is time to; return True where there are new answers."""
        cluster = self._layout.cluster()
        if cluster is None:
            return False
        if not cluster.has_controller:
            self._answered = self._clock.monotonic()
            return False
        self._cluster = cluster.id
        if self._query is None and self._due.over():
            self._due = Deadline(self._clock, spread(_REFRESH_SECONDS))
            self._began = self._clock.monotonic()
            self._query = self._layout.admin.describe(topics)
        if self._query is None or not self._query.done():
            return False
        answers, self._query = self._query.topics(), None
        if not answers:
            return False
        self._answered = self._began
        fresh = {name: each for name, each in answers.items() if not self._is_stale(name, each)}
        self.topics = {**self.topics, **fresh}
        for topic in fresh:
            self._note_id(topic, self.id_of(topic))
        return True

    def replaced(self, topic: str, before: str, now: str) -> bool:
        """Return True where two ids are those of namesakes; the earlier one is remembered."""
        if not is_recreated(before, now):
            return False
        if before not in self._records.replaced_ids(topic):
            self._records.replaced(topic, before)
        return True

    def _note_id(self, topic: str, topic_id: str) -> None:
        if topic_id:
            self.replaced(topic, self._last_ids.get(topic, ""), topic_id)
            self._last_ids[topic] = topic_id

    def _is_stale(self, topic: str, found: TopicDescription | None) -> bool:
        """Return True for the id of a deleted topic, which a broker does not repeat for long."""
        replaced = self._records.replaced_ids(topic)
        if found is None or f"{self._cluster}:{found.id}" not in replaced:
            self._stale_since.pop(topic, None)
            return False
        now = self._clock.monotonic()
        return now - self._stale_since.setdefault(topic, now) < _STALE_SECONDS
