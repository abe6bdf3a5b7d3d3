"""Which input topics have scores and which experience events, and how they are co-partitioned."""

from collections.abc import Mapping
from functools import cached_property

from processor.domain.record import Partition
from processor.settings import InputSettings, KafkaSettings


class Topics:
    """The input topics by name or pattern; a topic that matches both is a scores topic.

    With a repartition topic, facts are read from that topic, which is co-partitioned with the
    scores; the experience events topics are then only read to be repartitioned. A layout has the
    partition count of every topic.
    """

    def __init__(self, kafka: KafkaSettings, repartition_topic: str | None = None) -> None:
        self._scores = kafka.scores
        self._events = kafka.events
        self._repartitioned: InputSettings | None = None
        if repartition_topic is not None:
            self._events = InputSettings(topics=[repartition_topic])
            self._repartitioned = kafka.events
        self._is_scores: dict[str, bool] = {}

    @cached_property
    def subscription(self) -> list[str]:
        """Return names and patterns to subscribe to."""
        inputs = (self._scores, self._events, self._repartitioned)
        return list(dict.fromkeys(topic for each in inputs if each for topic in each.topics))

    def counts(self, layout: Mapping[str, int]) -> dict[str, int]:
        """Return the partition counts of all input topics."""
        inputs = [each for each in (self._scores, self._events, self._repartitioned) if each]
        return {
            topic: count
            for topic, count in layout.items()
            if any(each.takes(topic) for each in inputs)
        }

    def partitions(self, layout: Mapping[str, int]) -> list[Partition]:
        """Return all partitions of all input topics."""
        counts = self.counts(layout)
        return [Partition(each, number) for each in counts for number in range(counts[each])]

    def is_scores(self, topic: str) -> bool:
        """Return True for a scores topic."""
        known = self._is_scores.get(topic)
        if known is None:
            known = self._is_scores[topic] = self._scores.takes(topic)
        return known

    def keyed_by_person(self, topic: str) -> bool:
        """Return True where a record's key determines its partition."""
        repartitioned = self._repartitioned
        return repartitioned is None or self.is_scores(topic) or not repartitioned.takes(topic)

    def gaps_expected(self, topic: str) -> bool:
        """Return True where gaps in the offsets are normal."""
        if self.is_scores(topic):
            return self._scores.gaps_expected
        inputs = self._events if self.keyed_by_person(topic) else self._repartitioned
        return inputs is not None and inputs.gaps_expected

    @property
    def repartitioning(self) -> bool:
        """Return True where experience events are repartitioned."""
        return self._repartitioned is not None

    def repartitioned(self, layout: Mapping[str, int]) -> list[Partition]:
        """Return all partitions whose experience events are repartitioned."""
        return [
            Partition(topic, number)
            for topic in self._matching(self._repartitioned, layout)
            for number in range(layout[topic])
        ]

    def events_of(self, layout: Mapping[str, int], number: int) -> list[Partition]:
        """Return the event partitions that scores of partition `number` wait for."""
        return [
            Partition(topic, number)
            for topic in self._matching(self._events, layout)
            if number < layout[topic]
        ]

    def joined(self, layout: Mapping[str, int]) -> dict[str, int]:
        """Return the partition counts of the topics that must have the same count."""
        events = self._matching(self._events, layout)
        return {topic: count for topic, count in layout.items() if self.is_scores(topic)} | {
            topic: layout[topic] for topic in events
        }

    def copartitioned(self, layout: Mapping[str, int]) -> bool:
        """Return True where scores and events have the same count, as far as is known."""
        counts = self.joined(layout)
        kinds = {self.is_scores(topic) for topic in counts}
        return len(set(counts.values())) <= 1 or len(kinds) < 2  # noqa: PLR2004  both kinds

    def _matching(self, inputs: InputSettings | None, layout: Mapping[str, int]) -> list[str]:
        if inputs is None:
            return []
        return [topic for topic in layout if inputs.takes(topic) and not self.is_scores(topic)]
