"""Letters out: written with all replicas' word for it, again and again until it is given.

The limit that stops the house rather than emptying a topic into the dead-letter topic.
"""

import random
from collections import deque
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from confluent_kafka import KafkaException

from processor.dead_letter.dead_letter import DeadLetter, headers
from processor.domain.clock import Clock
from processor.domain.errors import StopError
from processor.domain.outcome import Reject
from processor.domain.record import Record
from processor.kafka.producer import KafkaProducer, producer_properties
from processor.settings import DeadLetterSettings, Settings
from processor.telemetry.metrics import Metrics


class DeadLetterLimit:
    """Counts rejected records in a row, and their share of the last ones.

    The share is judged once a whole window has been seen, so that a bad start alone stops nothing.
    What the inlet refuses joins the share later than its records did, and has a row of its own:
    batches of which it refused everything.
    """

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        self._row = 0
        self._refused_rows: dict[str, int] = {}
        self._window: deque[tuple[int, int]] = deque()
        self._seen = 0
        self._rejected = 0

    def check(self, count: int, rejected: Sequence[int]) -> None:
        """Take in a batch: how many records, and the places of the rejected ones, ascending.

        Raises StopError where a limit is passed.
        """
        self._count_row(count, rejected)
        self._count_share(count, len(rejected))

    def check_refusals(self, route: str, refused: int, sent: int) -> None:
        """Take in what an inlet said of a batch: of so many records sent, it refused so many.

        The records themselves were noted before. Raises StopError where a limit is passed.
        """
        row = self._refused_rows.get(route, 0)
        if sent:
            row = self._refused_rows[route] = row + refused if refused == sent else 0
        limit = self._settings.stop_after_consecutive
        if limit and row >= limit:
            raise StopError(
                f"{row} records in a row were refused by the inlet of route {route}: stopping, as "
                "dead_letter.stop_after_consecutive says."
            )
        if refused:
            self._count_share(0, refused)

    def _count_row(self, count: int, rejected: Sequence[int]) -> None:
        limit = self._settings.stop_after_consecutive
        previous = -1
        for place in rejected:
            self._row = self._row + 1 if place == previous + 1 else 1
            previous = place
            if limit and self._row >= limit:
                raise StopError(
                    f"{self._row} records in a row were rejected: stopping, as "
                    "dead_letter.stop_after_consecutive says."
                )
        if previous != count - 1:
            self._row = 0

    def _count_share(self, count: int, rejected: int) -> None:
        settings = self._settings
        self._window.append((count, rejected))
        self._seen += count
        self._rejected += rejected
        while self._seen - self._window[0][0] >= settings.stop_window:
            old_count, old_rejected = self._window.popleft()
            self._seen -= old_count
            self._rejected -= old_rejected
        if not settings.stop_ratio or self._seen < settings.stop_window:
            return
        if self._rejected > settings.stop_ratio * self._seen:
            raise StopError(
                f"{self._rejected} of the last {self._seen} records were rejected: stopping, as "
                "dead_letter.stop_ratio says."
            )


_FIRST_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 30.0

log = structlog.get_logger()


class DeadLetterWrite:
    """Letters on their way; `done` once all replicas have every one of them."""

    __slots__ = ("_left",)

    def __init__(self, dead_letters: int) -> None:
        self._left = dead_letters

    @property
    def done(self) -> bool:
        """Return True when nothing is left to be acknowledged."""
        return self._left == 0

    def acknowledge(self) -> None:
        """Note that one letter is safe."""
        self._left -= 1


class KafkaDeadLetterSink:
    """The dead-letter topic. A letter that can not be written is held and tried again, never lost.

    `limit` stops the processor where too many records are rejected; the loop checks every batch.
    """

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock) -> None:
        self._topic = settings.dead_letter.topic
        self._metrics = metrics
        self._clock = clock
        self._version = version("customer-ai-events")
        self._door = KafkaProducer(
            producer_properties(settings.kafka, settings.dead_letter), metrics, clock
        )
        self._unwritten: deque[tuple[DeadLetter, DeadLetterWrite]] = deque()
        self._trouble: str | None = None
        self._wait = _FIRST_WAIT_SECONDS
        self._again = 0.0
        self.limit = DeadLetterLimit(settings.dead_letter)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why letters can not be written now, None while all is well."""
        return self._trouble

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> DeadLetterWrite:
        """Write letters; never blocks. Ask the answer's `done` after later polls."""
        now_ms = self._clock.now_ms()
        sending = DeadLetterWrite(len(dead_letters))
        self._unwritten.extend(
            (DeadLetter(record, reject, now_ms, self._version), sending)
            for record, reject in dead_letters
        )
        self._write()
        return sending

    def poll(self) -> None:
        """Serve answers and write what waits; called on every turn of the loop."""
        self._door.poll()
        self._write()

    def close(self, seconds: float) -> bool:
        """Wait so long for answers; False where letters stay unwritten, and so uncommitted."""
        self._write()
        left = self._door.close(seconds) + len(self._unwritten)
        if left:
            log.warning(
                "Dead letters stay unwritten; their records are read again.", dead_letters=left
            )
        return not left

    def _write(self) -> None:
        if self._trouble is not None and self._clock.monotonic() < self._again:
            return
        for _ in range(len(self._unwritten)):
            dead_letter, sending = self._unwritten.popleft()
            if not self._take(dead_letter, sending):
                self._unwritten.appendleft((dead_letter, sending))
                return

    def _take(self, dead_letter: DeadLetter, sending: DeadLetterWrite) -> bool:
        def report(trouble: str | None) -> None:
            if trouble is None:
                self._written(dead_letter, sending)
            else:
                self._failed(dead_letter, trouble)
                self._unwritten.append((dead_letter, sending))

        record = dead_letter.record
        try:
            return self._door.write(
                self._topic, record.key, record.value, headers(dead_letter), report
            )
        except KafkaException as error:
            self._failed(dead_letter, error.args[0].str())
            return False

    def _written(self, dead_letter: DeadLetter, sending: DeadLetterWrite) -> None:
        sending.acknowledge()
        self._metrics.counter("dead_letter_writes", "ok").inc()
        self._metrics.counter(
            "dead_letters", dead_letter.reject.stage, dead_letter.reject.reason
        ).inc()
        self._wait = _FIRST_WAIT_SECONDS
        if self._trouble is not None and not self._unwritten:
            self._trouble, self._again = None, 0.0
            log.info("Dead letters can be written again.", topic=self._topic)

    def _failed(self, dead_letter: DeadLetter, trouble: str) -> None:
        self._metrics.counter("dead_letter_writes", "failed").inc()
        now = self._clock.monotonic()
        if self._trouble is not None and now < self._again:
            return  # another letter of a round that has failed already
        if "too large" in trouble.lower():
            trouble += " (raise the topic's max.message.bytes above that of the inputs)"
        self._trouble = f"{self._topic} can not be written: {trouble}"
        self._again = now + self._wait * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        self._wait = min(self._wait * 2, _MAX_WAIT_SECONDS)
        log.warning(
            "A dead letter could not be written; it is held and tried again.",
            origin=dead_letter.record.origin,
            trouble=trouble,
        )
