"""Checks of the cluster for `check --online`: topics, partition counts and permissions.

Nothing is written. Each question is bounded in time, so that an unavailable broker costs seconds.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import structlog

from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.domain.record import Record
from processor.kafka.admin import KafkaAdmin
from processor.kafka.topic_reader import TopicReader
from processor.kafka.topics import Topics
from processor.settings import Settings
from processor.settings.kafka import matches_topic

_SAMPLE: Final = 200
"""Records read of each partition's end at most."""

log = structlog.get_logger()


class KafkaCheck:
    """Compares one cluster with what the settings need."""

    def __init__(self, settings: Settings, clock: Clock, seconds: float) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds
        self._admin = KafkaAdmin(settings.kafka, "check", clock)
        self._topics = Topics(settings.kafka, settings.join.repartition_topic)
        self._counts: dict[str, int] = {}

    def results(self) -> Iterator[CheckResult]:
        """Yield the results, the broker's first; the others only where a broker answers."""
        try:
            cluster = self._admin.cluster(self._seconds)
        except UnavailableError:
            yield CheckResult(
                "broker",
                CheckStatus.FAIL,
                f"No broker of {self._settings.kafka.bootstrap_servers} answered in time.",
                "Look at kafka.bootstrap_servers, the network, and kafka.client for TLS and SASL.",
            )
            return
        self._counts = cluster.layout
        yield CheckResult("broker", CheckStatus.OK, f"{_count(cluster.brokers, 'broker')} found.")
        yield from self._inputs()
        yield self._copartitioning()
        yield self._changelog()
        yield self._control()
        yield self._dead_letters()
        yield from self._permissions()

    @property
    def layout(self) -> dict[str, int]:
        """Return the partition counts of the input topics, once `results` has queried them."""
        return {
            topic: count
            for topic, count in self._counts.items()
            if any(matches_topic(wanted, topic) for wanted in self._topics.subscription)
        }

    def sample(self) -> list[Record]:
        """Return some of the newest records of every input topic."""
        deadline = Deadline(self._clock, self._seconds)
        found: list[Record] = []
        for topic in self.layout:
            reader = TopicReader(self._settings.kafka, topic, part="sample", clock=self._clock)
            with closing(reader):
                try:
                    self._read_newest(reader, found, deadline)
                except UnavailableError as error:
                    log.warning(
                        "No sample could be read.",
                        code="sample_unavailable",
                        topic=topic,
                        error=error.detail,
                    )
        return found

    def _read_newest(self, reader: TopicReader, found: list[Record], deadline: Deadline) -> None:
        newest = {
            number: range(max(offsets.start, offsets.stop - _SAMPLE), offsets.stop)
            for number, offsets in reader.ranges(self._seconds).items()
        }
        for records, _ in reader.scan(newest, self._seconds):
            found += records
            if deadline.over():
                return

    def _inputs(self) -> Iterator[CheckResult]:
        for wanted in self._topics.subscription:
            name = f"topic {wanted}"
            found = sum(
                count for topic, count in self._counts.items() if matches_topic(wanted, topic)
            )
            if wanted == self._settings.join.repartition_topic:
                yield self._internal(wanted)
            elif found:
                yield CheckResult(name, CheckStatus.OK, f"It has {_count(found, 'partition')}.")
            else:
                sentence, fix = "There is no such topic.", "Create it, or rename."
                yield CheckResult(name, CheckStatus.FAIL, sentence, fix)

    def _copartitioning(self) -> CheckResult:
        layout = self._topics.joined(self.layout)
        counts = ", ".join(f"{topic} {count}" for topic, count in sorted(layout.items()))
        if self._topics.copartitioned(layout):
            sentence = f"Partition counts agree: {counts}."
            return CheckResult("co-partitioning", CheckStatus.OK, sentence)
        return CheckResult(
            "co-partitioning",
            CheckStatus.FAIL if self._settings.join.enabled else CheckStatus.WARN,
            f"Partition counts differ: {counts}.",
            "A join needs scores and events with equally many partitions, keyed alike.",
        )

    def _changelog(self) -> CheckResult:
        topic = self._settings.join.changelog_topic
        if not self._settings.join.enabled:
            sentence = "The join is off, so there is no changelog."
            return CheckResult(f"topic {topic}", CheckStatus.SKIP, sentence)
        return self._internal(topic)

    def _control(self) -> CheckResult:
        topic = self._settings.kafka.control_topic
        name, count = f"topic {topic}", self._counts.get(topic, 0)
        if count == 1:
            return CheckResult(name, CheckStatus.OK, "It has 1 partition.")
        if count == 0 and self._settings.join.create_changelog:
            sentence = "It does not exist yet and will be created."
            return CheckResult(name, CheckStatus.OK, sentence)
        return CheckResult(
            name,
            CheckStatus.FAIL,
            f"It has {_count(count, 'partition')} where it needs 1.",
            "Create it as `schema topics` has it.",
        )

    def _internal(self, topic: str) -> CheckResult:
        """Check the partition count of a topic that the processor itself writes and reads."""
        name, count = f"topic {topic}", self._counts.get(topic, 0)
        joined = self._topics.joined(self.layout)
        expected = max((n for other, n in joined.items() if other != topic), default=0)
        if count == 0 and self._settings.join.create_changelog:
            sentence = "It does not exist yet and will be created."
            return CheckResult(name, CheckStatus.OK, sentence)
        if count == expected:
            sentence = f"It has {_count(count, 'partition')}, as the inputs have."
            return CheckResult(name, CheckStatus.OK, sentence)
        return CheckResult(
            name,
            CheckStatus.FAIL,
            f"It has {_count(count, 'partition')} where the inputs have {expected}.",
            "Create it as `schema topics` has it, with as many partitions as the inputs.",
        )

    def _dead_letters(self) -> CheckResult:
        topic = self._settings.dead_letter.topic
        name, count = f"topic {topic}", self._counts.get(topic, 0)
        if count:
            return CheckResult(name, CheckStatus.OK, f"It has {_count(count, 'partition')}.")
        return CheckResult(
            name,
            CheckStatus.FAIL,
            "There is no such topic, so one bad record would stop all intake.",
            "Create it before the first run; it holds personal data, so mind its retention.",
        )

    def _permissions(self) -> Iterator[CheckResult]:
        """Yield the permissions that are missing; a broker need not report them."""
        join = self._settings.join
        control = self._settings.kafka.control_topic
        written = [self._settings.dead_letter.topic, control, join.repartition_topic]
        written += [join.changelog_topic] if join.enabled else []
        wanted = [(topic, "READ") for topic in self.layout]
        wanted += [(topic, "WRITE") for topic in written if topic in self._counts]
        allowed = self._admin.allowed_operations({topic for topic, _ in wanted}, self._seconds)
        if allowed is None:
            sentence = "The broker does not report what this client may do."
            yield CheckResult("rights", CheckStatus.SKIP, sentence)
            return
        missing = [(topic, right) for topic, right in wanted if right not in allowed[topic]]
        if not missing:
            sentence = "Inputs may be read, dead letters and state written."
            yield CheckResult("rights", CheckStatus.OK, sentence)
        for topic, right in missing:
            fix = f"Grant {right} on {topic} to this client."
            sentence = f"This client may not {right.lower()} it."
            yield CheckResult(f"rights on {topic}", CheckStatus.FAIL, sentence, fix)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
