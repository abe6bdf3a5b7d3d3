"""Which topics are scores and which are experience events, and whether they are numbered alike."""

from collections.abc import Mapping
from functools import cached_property

from processor.record import Partition
from processor.settings import KafkaSettings

__all__ = ["Topics"]


class Topics:
    """The input topics by name or pattern; a topic that matches both is a scores topic."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._scores = kafka.scores
        self._events = kafka.events
        self._known: dict[str, bool] = {}

    @cached_property
    def subscription(self) -> list[str]:
        """Names and patterns, as Kafka wants them."""
        events = self._events.topics if self._events else []
        return list(dict.fromkeys([*self._scores.topics, *events]))

    def scores(self, topic: str) -> bool:
        """Return True for a scores topic."""
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = self._scores.takes(topic)
        return known

    def gaps_expected(self, topic: str) -> bool:
        """Return True where holes in the offsets mean nothing."""
        page = self._scores if self.scores(topic) or self._events is None else self._events
        return page.gaps_expected

    def beside(self, layout: Mapping[str, int], number: int) -> list[Partition]:
        """Return the event partitions that a score of partition `number` waits for."""
        return [
            Partition(topic, number)
            for topic in self._event_topics(layout)
            if number < layout[topic]
        ]

    def aligned(self, layout: Mapping[str, int]) -> bool:
        """Return True where scores and events have equal partition counts, so far as is known."""
        scores = {count for topic, count in layout.items() if self.scores(topic)}
        events = {layout[topic] for topic in self._event_topics(layout)}
        return len(scores | events) <= 1 or not scores or not events

    def _event_topics(self, layout: Mapping[str, int]) -> list[str]:
        events = self._events
        if events is None:
            return []
        return [topic for topic in layout if events.takes(topic) and not self.scores(topic)]
