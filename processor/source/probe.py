"""Is Kafka as the processor needs it? Questions for `check --online`; nothing is written.

Each question is bounded in time, so that a broker that is away costs seconds.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # so its documentation has it

from processor.clock import Clock, Deadline
from processor.finding import Finding, Mark
from processor.record import Record
from processor.settings import Settings
from processor.settings.client import connection
from processor.settings.kafka import means
from processor.source.intake import records
from processor.source.topics import Topics
from processor.telemetry.quiet import client_logger

__all__ = ["KafkaProbe"]

_NAME: Final = "customer-ai-events-check"
_SAMPLE: Final = 200
"""Records read of each partition's end at most."""

log = structlog.get_logger()


class KafkaProbe:
    """Asks one cluster what the settings expect of it."""

    def __init__(self, settings: Settings, clock: Clock, seconds: float) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds
        kafka = settings.kafka
        self._properties = connection(kafka.bootstrap_servers, _NAME, kafka.client)
        self._admin = AdminClient(self._properties, logger=client_logger("check", clock))
        self._topics = Topics(kafka)
        self._counts: dict[str, int] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield what was found, broker first; the rest only where one answered."""
        cluster = self._cluster()
        if cluster is None:
            yield Finding(
                "broker",
                Mark.FAIL,
                f"No broker of {self._settings.kafka.bootstrap_servers} answered in time.",
                "Look at kafka.bootstrap_servers, the network, and kafka.client for TLS and SASL.",
            )
            return
        self._counts = {name: len(topic.partitions) for name, topic in cluster.topics.items()}
        yield Finding("broker", Mark.OK, f"{_count(len(cluster.brokers), 'broker')} on the line.")
        yield from self._inputs()
        yield self._alignment()
        yield self._changelog()
        yield self._dead_letters()
        yield from self._rights()

    def sample(self) -> list[Record]:
        """Return some of the newest records of every input topic."""
        consumer = Consumer(
            {**self._properties, "group.id": _NAME, "enable.auto.commit": False},
            logger=client_logger("check", self._clock),
        )
        try:
            return self._read(consumer)
        except KafkaException as error:
            log.warning("No sample could be read.", reason=error.args[0].name())
            return []
        finally:
            consumer.close()

    def _cluster(self) -> ClusterMetadata | None:
        try:
            return self._admin.list_topics(timeout=self._seconds)
        except KafkaException:
            return None

    def _inputs(self) -> Iterator[Finding]:
        for wanted in self._topics.subscription:
            found = sum(count for topic, count in self._counts.items() if means(wanted, topic))
            if found:
                yield Finding(f"topic {wanted}", Mark.OK, f"It has {_count(found, 'partition')}.")
            else:
                yield Finding(
                    f"topic {wanted}", Mark.FAIL, "There is no such topic.", "Create it, or rename."
                )

    def _layout(self) -> dict[str, int]:
        return {
            topic: count
            for topic, count in self._counts.items()
            if any(means(wanted, topic) for wanted in self._topics.subscription)
        }

    def _alignment(self) -> Finding:
        layout = self._layout()
        told = ", ".join(f"{topic} {count}" for topic, count in sorted(layout.items()))
        if self._topics.aligned(layout):
            return Finding("co-partitioning", Mark.OK, f"Partition counts agree: {told}.")
        mark = Mark.FAIL if self._settings.join.enabled else Mark.WARN
        return Finding(
            "co-partitioning",
            mark,
            f"Partition counts differ: {told}.",
            "A join needs scores and events with equally many partitions, keyed alike.",
        )

    def _changelog(self) -> Finding:
        join = self._settings.join
        name = f"topic {join.changelog_topic}"
        if not join.enabled:
            return Finding(name, Mark.SKIP, "The join is off, so no changelog is kept.")
        count = self._counts.get(join.changelog_topic, 0)
        expected = max(self._layout().values(), default=0)
        if count == 0 and join.create_changelog:
            return Finding(name, Mark.OK, "It is not there yet and will be created.")
        if count == expected:
            return Finding(
                name, Mark.OK, f"It has {_count(count, 'partition')}, as the inputs have."
            )
        return Finding(
            name,
            Mark.FAIL,
            f"It has {_count(count, 'partition')} where the inputs have {expected}.",
            "Create it compacted, with as many partitions as the inputs.",
        )

    def _dead_letters(self) -> Finding:
        topic = self._settings.dead_letter.topic
        if self._counts.get(topic):
            return Finding(
                f"topic {topic}", Mark.OK, f"It has {_count(self._counts[topic], 'partition')}."
            )
        return Finding(
            f"topic {topic}",
            Mark.FAIL,
            "There is no such topic, so one bad record would stop all intake.",
            "Create it before the first run; it holds personal data, so mind its retention.",
        )

    def _rights(self) -> Iterator[Finding]:
        """Tell what the broker lets us do; one without an answer is not held against it."""
        wanted = dict.fromkeys(self._layout(), AclOperation.READ)
        wanted[self._settings.dead_letter.topic] = AclOperation.WRITE
        if self._settings.join.enabled:
            wanted[self._settings.join.changelog_topic] = AclOperation.WRITE
        present = {topic: right for topic, right in wanted.items() if topic in self._counts}
        refused = self._refused(present)
        if refused is None:
            yield Finding("rights", Mark.SKIP, "The broker does not tell what we may do.")
        elif not refused:
            yield Finding("rights", Mark.OK, "Inputs may be read, dead letters and state written.")
        for topic in refused or ():
            right = present[topic].name.lower()
            fix = f"Grant {right.upper()} on {topic} to this client."
            yield Finding(f"rights on {topic}", Mark.FAIL, f"We may not {right} it.", fix)

    def _refused(self, wanted: Mapping[str, AclOperation]) -> list[str] | None:
        try:
            futures = self._admin.describe_topics(
                TopicCollection(list(wanted)),
                include_authorized_operations=True,
                request_timeout=self._seconds,
            )
            told = {name: future.result() for name, future in futures.items()}
        except KafkaException:
            return None
        granted = {name: topic.authorized_operations for name, topic in told.items()}
        if any(operations is None for operations in granted.values()):
            return None
        return [name for name, right in wanted.items() if right not in granted[name]]

    def _read(self, consumer: Consumer) -> list[Record]:
        ends = []
        for topic, count in self._layout().items():
            for number in range(count):
                here = TopicPartition(topic, number)
                low, high = consumer.get_watermark_offsets(here, timeout=self._seconds)
                if high > low:
                    ends.append(TopicPartition(topic, number, max(low, high - _SAMPLE)))
        if not ends:
            return []
        consumer.assign(ends)
        return self._consume(consumer, len(ends) * _SAMPLE)

    def _consume(self, consumer: Consumer, enough: int) -> list[Record]:
        found: list[Record] = []
        deadline = Deadline(self._clock, self._seconds)
        while len(found) < enough and not deadline.over():
            messages = consumer.consume(enough, timeout=min(0.5, deadline.left()))
            if found and not messages:
                break
            found += records(messages)
        return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
