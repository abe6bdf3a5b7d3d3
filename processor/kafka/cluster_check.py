"""Is Kafka as the processor needs it? Questions for `check --online`; nothing is written.

Each question is bounded in time, so that a broker that is away costs seconds.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # so its documentation has it

from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, Deadline
from processor.domain.record import Record
from processor.kafka.messages import records
from processor.kafka.topics import Topics
from processor.settings import Settings
from processor.settings.kafka import matches_topic
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger

_NAME: Final = "customer-ai-events-check"
_SAMPLE: Final = 200
"""Records read of each partition's end at most."""

log = structlog.get_logger()


class KafkaCheck:
    """Asks one cluster what the settings expect of it."""

    def __init__(self, settings: Settings, clock: Clock, seconds: float) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds
        kafka = settings.kafka
        self._properties = connection(kafka.bootstrap_servers, _NAME, kafka.client)
        self._admin = AdminClient(self._properties, logger=client_logger("check", clock))
        self._topics = Topics(kafka, settings.join.repartition_topic)
        self._counts: dict[str, int] = {}

    def results(self) -> Iterator[CheckResult]:
        """Yield what was found, broker first; the rest only where one answered."""
        cluster = self._cluster()
        if cluster is None:
            yield CheckResult(
                "broker",
                CheckStatus.FAIL,
                f"No broker of {self._settings.kafka.bootstrap_servers} answered in time.",
                "Look at kafka.bootstrap_servers, the network, and kafka.client for TLS and SASL.",
            )
            return
        self._counts = {name: len(topic.partitions) for name, topic in cluster.topics.items()}
        yield CheckResult(
            "broker", CheckStatus.OK, f"{_count(len(cluster.brokers), 'broker')} on the line."
        )
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

    def _inputs(self) -> Iterator[CheckResult]:
        for wanted in self._topics.subscription:
            found = sum(
                count for topic, count in self._counts.items() if matches_topic(wanted, topic)
            )
            if wanted == self._settings.join.repartition_topic:
                yield self._internal(wanted)
            elif found:
                yield CheckResult(
                    f"topic {wanted}", CheckStatus.OK, f"It has {_count(found, 'partition')}."
                )
            else:
                yield CheckResult(
                    f"topic {wanted}",
                    CheckStatus.FAIL,
                    "There is no such topic.",
                    "Create it, or rename.",
                )

    @property
    def layout(self) -> dict[str, int]:
        """Return the partition counts of the input topics, once `findings` has asked."""
        return {
            topic: count
            for topic, count in self._counts.items()
            if any(matches_topic(wanted, topic) for wanted in self._topics.subscription)
        }

    def _alignment(self) -> CheckResult:
        layout = self._topics.numbered(self.layout)
        told = ", ".join(f"{topic} {count}" for topic, count in sorted(layout.items()))
        if self._topics.aligned(layout):
            return CheckResult(
                "co-partitioning", CheckStatus.OK, f"Partition counts agree: {told}."
            )
        mark = CheckStatus.FAIL if self._settings.join.enabled else CheckStatus.WARN
        return CheckResult(
            "co-partitioning",
            mark,
            f"Partition counts differ: {told}.",
            "A join needs scores and events with equally many partitions, keyed alike.",
        )

    def _changelog(self) -> CheckResult:
        topic = self._settings.join.changelog_topic
        if not self._settings.join.enabled:
            sentence = "The join is off, so no changelog is kept."
            return CheckResult(f"topic {topic}", CheckStatus.SKIP, sentence)
        return self._internal(topic)

    def _internal(self, topic: str) -> CheckResult:
        """Judge a topic of our own by its partition count."""
        name, count = f"topic {topic}", self._counts.get(topic, 0)
        alike = self._topics.numbered(self.layout)
        expected = max((n for other, n in alike.items() if other != topic), default=0)
        if count == 0 and self._settings.join.create_changelog:
            return CheckResult(name, CheckStatus.OK, "It is not there yet and will be created.")
        if count == expected:
            return CheckResult(
                name, CheckStatus.OK, f"It has {_count(count, 'partition')}, as the inputs have."
            )
        return CheckResult(
            name,
            CheckStatus.FAIL,
            f"It has {_count(count, 'partition')} where the inputs have {expected}.",
            "Create it as `schema topics` has it, with as many partitions as the inputs.",
        )

    def _dead_letters(self) -> CheckResult:
        topic = self._settings.dead_letter.topic
        if self._counts.get(topic):
            return CheckResult(
                f"topic {topic}",
                CheckStatus.OK,
                f"It has {_count(self._counts[topic], 'partition')}.",
            )
        return CheckResult(
            f"topic {topic}",
            CheckStatus.FAIL,
            "There is no such topic, so one bad record would stop all intake.",
            "Create it before the first run; it holds personal data, so mind its retention.",
        )

    def _rights(self) -> Iterator[CheckResult]:
        """Tell what the broker lets us do; one without an answer is not held against it."""
        join = self._settings.join
        written = [self._settings.dead_letter.topic, join.repartition_topic]
        written += [join.changelog_topic] if join.enabled else []
        wanted = [(topic, AclOperation.READ) for topic in self.layout]
        wanted += [(topic, AclOperation.WRITE) for topic in written if topic in self._counts]
        refused = self._refused(wanted)
        if refused is None:
            yield CheckResult(
                "rights", CheckStatus.SKIP, "The broker does not tell what we may do."
            )
        elif not refused:
            yield CheckResult(
                "rights", CheckStatus.OK, "Inputs may be read, dead letters and state written."
            )
        for topic, right in refused or ():
            fix = f"Grant {right.name} on {topic} to this client."
            sentence = f"We may not {right.name.lower()} it."
            yield CheckResult(f"rights on {topic}", CheckStatus.FAIL, sentence, fix)

    def _refused(
        self, wanted: Sequence[tuple[str, AclOperation]]
    ) -> list[tuple[str, AclOperation]] | None:
        try:
            futures = self._admin.describe_topics(
                TopicCollection(list({topic for topic, _ in wanted})),
                include_authorized_operations=True,
                request_timeout=self._seconds,
            )
            told = {name: future.result() for name, future in futures.items()}
        except KafkaException:
            return None
        granted = {name: topic.authorized_operations for name, topic in told.items()}
        if any(operations is None for operations in granted.values()):
            return None
        return [(topic, right) for topic, right in wanted if right not in granted[topic]]

    def _read(self, consumer: Consumer) -> list[Record]:
        ends = []
        for topic, count in self.layout.items():
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
