"""Notices that the changelog topic was deleted and created anew while it is written."""

from typing import Final

from processor.domain.clock import Clock, Deadline
from processor.kafka.admin import KafkaAdmin
from processor.kafka.queries import TopicQuery

_QUERY_SECONDS: Final = 1.0


class ChangelogWatch:
    """Queries the id of the changelog topic about every second, without waiting for the answer.

    Where the broker has no topic ids, `topic_id` is empty and nothing is queried.
    """

    def __init__(self, admin: KafkaAdmin, topic: str, topic_id: str, clock: Clock) -> None:
        self._admin = admin
        self._topic = topic
        self._topic_id = topic_id
        self._clock = clock
        self._due = Deadline(clock, 0)
        self._query: TopicQuery | None = None

    def new_id(self) -> str | None:
        """Return the id of a topic that took the place of the known one; None while none did."""
        if not self._topic_id:
            return None
        if self._query is None and self._due.over():
            self._due = Deadline(self._clock, _QUERY_SECONDS)
            self._query = self._admin.describe([self._topic])
        if self._query is None or not self._query.done():
            return None
        query, self._query = self._query, None
        found = query.topics().get(self._topic)
        return found.id if found is not None and found.id not in {"", self._topic_id} else None

    def accept(self, topic_id: str) -> None:
        """Know the topic by its new id from now on."""
        self._topic_id = topic_id
