"""The dead-letter topic, written, and the limit that pauses intake.

The limit keeps a topic of bad records from being emptied into the dead-letter topic.
"""

from collections import deque
from collections.abc import Sequence
from importlib.metadata import version

import structlog

from processor.dead_letter.dead_letter import DeadLetter, headers
from processor.domain.clock import Clock
from processor.domain.errors import StopError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.kafka.internal_topic import DAY_MS, InternalTopic, OwnTopicWatch
from processor.kafka.producer import KafkaProducer, KafkaWrite, OutgoingMessage, ProducerConfig
from processor.settings import DeadLetterSettings, Settings
from processor.settings.kafka_client import connection
from processor.telemetry.catalogue import DEAD_LETTER_WRITES, DEAD_LETTERS
from processor.telemetry.metrics import Metrics

log = structlog.get_logger()


class DeadLetterLimit:
    """Counts rejected records in a row, and their share of the last records.

    The share is judged once a whole window has been seen, so that a bad start alone pauses nothing.
    Refusals by the inlet are counted in the share later than their records. They have a count in a
    row of their own, for each route: of batches that were refused as a whole.
    """

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        self._in_a_row = 0
        self._refused_in_a_row: dict[str, int] = {}
        self._window: deque[tuple[int, int]] = deque()
        self._records = 0
        self._rejected = 0

    def reset(self) -> None:
        """Begin to count anew: an operator resumed intake."""
        self._in_a_row = 0
        self._refused_in_a_row.clear()
        self._window.clear()
        self._records = self._rejected = 0

    def check(self, count: int, rejected: Sequence[int]) -> None:
        """Count a batch of `count` records, with the indexes of the rejected ones, ascending.

        Raises StopError where a limit is passed.
        """
        self._count_row(count, rejected)
        self._count_share(count, len(rejected))

    def check_refusals(self, route: str, refused: int, sent: int) -> None:
        """Count the refusals of an inlet: it refused `refused` of `sent` records.

        The records themselves were counted by `check`. Raises StopError where a limit is passed.
        """
        row = self._refused_in_a_row.get(route, 0)
        if sent:
            row = self._refused_in_a_row[route] = row + refused if refused == sent else 0
        limit = self._settings.stop_after_consecutive
        if limit and row >= limit:
            raise StopError(
                f"{row} records in a row were refused by the inlet of route {route}: intake "
                "is paused, as dead_letter.stop_after_consecutive says."
            )
        if refused:
            self._count_share(0, refused)

    def _count_row(self, count: int, rejected: Sequence[int]) -> None:
        limit = self._settings.stop_after_consecutive
        previous = -1
        for index in rejected:
            self._in_a_row = self._in_a_row + 1 if index == previous + 1 else 1
            previous = index
            if limit and self._in_a_row >= limit:
                raise StopError(
                    f"{self._in_a_row} records in a row were rejected: intake is paused, as "
                    "dead_letter.stop_after_consecutive says."
                )
        if previous != count - 1:  # the batch ends with a good record
            self._in_a_row = 0

    def _count_share(self, count: int, rejected: int) -> None:
        settings = self._settings
        self._window.append((count, rejected))
        self._records += count
        self._rejected += rejected
        # The window holds whole batches: as few of the last ones as have `stop_window` records.
        while self._records - self._window[0][0] >= settings.stop_window:
            old_count, old_rejected = self._window.popleft()
            self._records -= old_count
            self._rejected -= old_rejected
        if not settings.stop_ratio or self._records < settings.stop_window:
            return
        if self._rejected > settings.stop_ratio * self._records:
            raise StopError(
                f"{self._rejected} of the last {self._records} records were rejected: intake is "
                "paused, as dead_letter.stop_ratio says."
            )


class KafkaDeadLetterSink:
    """The dead-letter topic. What cannot be written now is written later, never lost.

    `limit` pauses intake where too many records are rejected; the loop checks every batch.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, clock: Clock, watch: OwnTopicWatch | None = None
    ) -> None:
        self._watch = watch
        self._metrics = metrics
        self._clock = clock
        self._version = version("customer-ai-events")
        self._producer = KafkaProducer(_config(settings), metrics, clock)
        self.limit = DeadLetterLimit(settings.dead_letter)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why dead letters cannot be written now; None while they can."""
        fault = None if self._watch is None else self._watch.fault
        return fault or self._producer.unavailable_reason

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> KafkaWrite:
        """Write dead letters; never blocks. Ask the answer's `done` after later polls."""
        now_ms = self._clock.now_ms()
        return self._producer.send(
            OutgoingMessage(
                record.key,
                record.value,
                headers(DeadLetter(record, reject, now_ms, self._version)),
                labels=(reject.stage, reject.reason),
            )
            for record, reject in dead_letters
        )

    def poll(self) -> None:
        """Serve reports and retries; called on every turn of the loop."""
        self._count(self._producer.poll())
        if self._watch is not None:
            self._watch.follow()

    def close(self, seconds: float) -> bool:
        """Write what is left within `seconds`.

        Returns False where dead letters stay unwritten, and so their records uncommitted.
        """
        self._count(self._producer.close(seconds))
        unwritten = self._producer.unwritten
        if unwritten:
            log.warning(
                "Dead letters stay unwritten; their records are read again.",
                code="dead_letters_unwritten",
                dead_letters=unwritten,
            )
        return not unwritten

    def _count(self, written: list[OutgoingMessage]) -> None:
        for message in written:
            stage, reason = message.labels
            self._metrics.counter(DEAD_LETTERS, Stage(stage), Reason(reason)).inc()


def dead_letter_topic(settings: DeadLetterSettings) -> InternalTopic:
    """Return how the dead-letter topic must be; it is created by its owner."""
    return InternalTopic(
        key="dead_letter.topic",
        name=settings.topic,
        config={"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
        content="all dead letters of a key but the newest",
        required=False,
    )


def _config(settings: Settings) -> ProducerConfig:
    """Return the producer's configuration; raises SettingsError for reserved properties."""
    kafka, dead_letter = settings.kafka, settings.dead_letter
    return ProducerConfig(
        part="dead_letters",
        topic=dead_letter.topic,
        writes=DEAD_LETTER_WRITES,
        client=connection(
            kafka.bootstrap_servers,
            f"{kafka.group_id}-dead-letters",
            kafka.client,
            dead_letter.client,
        ),
        timeout_seconds=dead_letter.delivery_timeout_seconds,
    )
