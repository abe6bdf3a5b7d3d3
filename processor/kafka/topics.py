"""Which topics are scores and which are experience events, and whether they are numbered alike."""

from collections.abc import Mapping
from functools import cached_property

from processor.domain.record import Partition
from processor.settings import InputSettings, KafkaSettings


class Topics:
    """The input topics by name or pattern; a topic that matches both is a scores topic.

    With a repartition topic, facts come by that one, numbered as scores are; the experience events
    are then upstream of it.
    """

    def __init__(self, kafka: KafkaSettings, repartition_topic: str | None = None) -> None:
        self._scores = kafka.scores
        self._events = kafka.events
        self._upstream: InputSettings | None = None
        if repartition_topic is not None:
            self._events = InputSettings(topics=[repartition_topic])
            self._upstream = kafka.events
        self._known: dict[str, bool] = {}

    @cached_property
    def subscription(self) -> list[str]:
        """Names and patterns, as Kafka wants them."""
        pages = (self._scores, self._events, self._upstream)
        return list(dict.fromkeys(topic for page in pages if page for topic in page.topics))

    def scores(self, topic: str) -> bool:
        """Return True for a scores topic."""
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = self._scores.takes(topic)
        return known

    def keyed(self, topic: str) -> bool:
        """Return True where a record's key says on which partition it belongs."""
        return self._upstream is None or self.scores(topic) or not self._upstream.takes(topic)

    def gaps_expected(self, topic: str) -> bool:
        """Return True where holes in the offsets mean nothing."""
        if self.scores(topic):
            return self._scores.gaps_expected
        page = self._events if self.keyed(topic) else self._upstream
        return page is not None and page.gaps_expected

    @property
    def repartitioned(self) -> bool:
        """Return True where experience events are upstream of a repartition topic."""
        return self._upstream is not None

    def upstream(self, layout: Mapping[str, int]) -> list[Partition]:
        """Return all partitions whose experience events are forwarded."""
        return [
            Partition(topic, number)
            for topic in self._of(self._upstream, layout)
            for number in range(layout[topic])
        ]

    def beside(self, layout: Mapping[str, int], number: int) -> list[Partition]:
        """Return the event partitions that a score of partition `number` waits for."""
        return [
            Partition(topic, number)
            for topic in self._of(self._events, layout)
            if number < layout[topic]
        ]

    def numbered(self, layout: Mapping[str, int]) -> dict[str, int]:
        """Return the partition counts of the topics that must have equally many."""
        events = self._of(self._events, layout)
        return {topic: count for topic, count in layout.items() if self.scores(topic)} | {
            topic: layout[topic] for topic in events
        }

    def aligned(self, layout: Mapping[str, int]) -> bool:
        """Return True where scores and events have equal partition counts, so far as is known."""
        counts = self.numbered(layout)
        kinds = {self.scores(topic) for topic in counts}
        return len(set(counts.values())) <= 1 or len(kinds) < 2  # noqa: PLR2004  both of them

    def _of(self, page: InputSettings | None, layout: Mapping[str, int]) -> list[str]:
        if page is None:
            return []
        return [topic for topic in layout if page.takes(topic) and not self.scores(topic)]
