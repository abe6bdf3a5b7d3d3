"""Compares the topics with what they were: partition counts, and ids of those that are written.

A person's state has the number of the partition of the person's records. Where a topic gets more
partitions, its producers spread the persons anew, and the new partitions have no state: they are
not read, and the others go on. A beginning with more partitions needs a new changelog.
"""

from collections.abc import Collection, Iterable

import structlog

from processor.domain.clock import Clock
from processor.domain.record import Partition
from processor.kafka.admin import TopicLayout
from processor.kafka.topics import Topics
from processor.source.group_records import GroupRecords
from processor.source.topic_watch import TopicWatch
from processor.telemetry.catalogue import PARTITIONS_CHANGED, TOPICS_RECREATED
from processor.telemetry.metrics import Metrics

log = structlog.get_logger()


class TopicGuard:
    """What is wrong with the topics now, as far as their partition counts and ids show.

    `written` are the topics that are written and not read. Without `changelog` there is no state,
    and any number of partitions is right.
    """

    def __init__(  # noqa: PLR0913  what is asked, and what is compared with it
        self,
        layout: TopicLayout,
        topics: Topics,
        records: GroupRecords,
        *,
        written: Collection[str],
        changelog: str | None,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.layout = layout
        self.topics = topics
        self.watch = TopicWatch(layout, records, clock)
        self._records = records
        self._written = frozenset(written)
        self.changelog = changelog
        self._metrics = metrics
        self._input_ids: dict[str, str] = {}
        self._missing: frozenset[str] = frozenset()
        self._changed: dict[str, int] = {}

    @property
    def reason(self) -> str | None:
        """Return what is wrong, as a sentence without its full stop; None where nothing is."""
        sentences = [
            f"topic {topic} has {count} partitions and person state has {self.expected}, so its "
            f"partitions from {self.expected} on are not read and scores may lack context"
            for topic, count in sorted(self._changed.items())
        ]
        sentences += [
            f"topic {topic} does not exist; create it, or take it out of the settings"
            for topic in sorted(self._missing)
        ]
        return "; ".join(sentences) or None

    @property
    def expected(self) -> int:
        """Return the number of partitions that person state was made for; 0 where unknown."""
        return self._records.state_partitions(self.changelog) if self.changelog else 0

    @property
    def incomplete(self) -> bool:
        """Return True while there are experience events that are not read."""
        return any(not self.topics.is_scores(topic) for topic in self._changed)

    def unread(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Return which of these partitions must not be read, as there is no state for them."""
        expected = self.expected
        if not expected:
            return set()
        keyed = self.topics.keyed_by_person
        return {each for each in partitions if each.number >= expected and keyed(each.topic)}

    def watched(self, assigned: Iterable[Partition]) -> set[str]:
        """Return the topics to watch."""
        named = {topic for topic in self.topics.subscription if not topic.startswith("^")}
        changelog = {self.changelog} if self.changelog is not None else set()
        return named | self._written | changelog | {each.topic for each in assigned}

    def check(self) -> None:
        """Compare the newest answers of the watch with what was known."""
        for topic in self.watch.topics:
            if topic_id := self.watch.id_of(topic):
                self._check_id(topic, topic_id)
        self._check_missing()
        if self.changelog is not None:
            self._check_counts(self.changelog)

    def _check_id(self, topic: str, topic_id: str) -> None:
        written = topic in self._written or topic == self.changelog
        before = self._records.written_id(topic) if written else self._input_ids.get(topic, "")
        if before == topic_id:
            return
        if self.watch.replaced(topic, before, topic_id):
            self._metrics.counter(TOPICS_RECREATED, topic).inc()
            log.error(
                "A topic was deleted and created anew; what it had is gone.",
                code="topic_recreated",
                topic=topic,
                before=before,
                now=topic_id,
                written=written,
            )
        if written:
            self._records.written(topic, topic_id)
        else:
            self._input_ids[topic] = topic_id

    def _check_missing(self) -> None:
        missing = frozenset(topic for topic in self.watch.topics if self.watch.is_missing(topic))
        for topic in missing - self._missing:
            log.error("A topic does not exist.", code="topic_missing", topic=topic)
        for topic in self._missing - missing:
            log.info("A topic exists now.", code="topic_found", topic=topic)
        self._missing = missing

    def _check_counts(self, changelog: str) -> None:
        counts = {topic: found.partitions for topic, found in self.watch.topics.items() if found}
        if counts.get(changelog):
            self._records.state_made_for(changelog, counts[changelog])
        expected = self.expected
        joined = {*self.topics.joined(counts), changelog} & counts.keys()
        changed = {
            topic: counts[topic]
            for topic in joined
            if expected and counts[topic] and counts[topic] != expected
        }
        for topic in joined:
            self._metrics.gauge(PARTITIONS_CHANGED, topic).set(topic in changed)
        for topic in changed.keys() - self._changed.keys():
            log.error(
                "A topic has another number of partitions than person state was made for. Its "
                "further partitions are not read, and scores may be sent without the context of "
                "their person. Give the topics the number of partitions that they had, or begin "
                "with a new kafka.group_id and join.changelog_topic.",
                code="partition_count_changed",
                topic=topic,
                partitions=changed[topic],
                expected=expected,
            )
        self._changed = changed
