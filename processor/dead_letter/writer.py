"""Letters out: written with all replicas' word for it, again and again until it is given."""

import random
from collections import deque
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from confluent_kafka import KafkaException

from processor.clock import Clock
from processor.dead_letter.guard import Guard
from processor.dead_letter.letter import Letter, headers
from processor.dead_letter.producer import Door, producer_properties
from processor.outcome import Reject
from processor.record import Record
from processor.settings import Settings
from processor.telemetry.metrics import Metrics

__all__ = ["DeadLetters", "Sending"]

_FIRST_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 30.0

log = structlog.get_logger()


class Sending:
    """Letters on their way; `done` once all replicas have every one of them."""

    __slots__ = ("_left",)

    def __init__(self, letters: int) -> None:
        self._left = letters

    @property
    def done(self) -> bool:
        """Return True when nothing is left to be acknowledged."""
        return self._left == 0

    def acknowledge(self) -> None:
        """Note that one letter is safe."""
        self._left -= 1


class DeadLetters:
    """The dead-letter topic. A letter that can not be written is held and tried again, never lost.

    `guard` is the limit that stops the house; whoever settles batches tells it of each.
    """

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock) -> None:
        self._topic = settings.dead_letter.topic
        self._metrics = metrics
        self._clock = clock
        self._version = version("customer-ai-events")
        self._door = Door(producer_properties(settings.kafka, settings.dead_letter), metrics, clock)
        self._unwritten: deque[tuple[Letter, Sending]] = deque()
        self._trouble: str | None = None
        self._wait = _FIRST_WAIT_SECONDS
        self._again = 0.0
        self.guard = Guard(settings.dead_letter)

    @property
    def holding(self) -> str | None:
        """Return why letters can not be written now, None while all is well."""
        return self._trouble

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> Sending:
        """Write letters; never blocks. Ask the answer's `done` after later polls."""
        now_ms = self._clock.now_ms()
        sending = Sending(len(letters))
        self._unwritten.extend(
            (Letter(record, reject, now_ms, self._version), sending) for record, reject in letters
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
            log.warning("Dead letters stay unwritten; their records are read again.", letters=left)
        return not left

    def _write(self) -> None:
        if self._trouble is not None and self._clock.monotonic() < self._again:
            return
        for _ in range(len(self._unwritten)):
            letter, sending = self._unwritten.popleft()
            if not self._take(letter, sending):
                self._unwritten.appendleft((letter, sending))
                return

    def _take(self, letter: Letter, sending: Sending) -> bool:
        def report(trouble: str | None) -> None:
            if trouble is None:
                self._written(letter, sending)
            else:
                self._failed(letter, trouble)
                self._unwritten.append((letter, sending))

        record = letter.record
        try:
            return self._door.write(self._topic, record.key, record.value, headers(letter), report)
        except KafkaException as error:
            self._failed(letter, error.args[0].str())
            return False

    def _written(self, letter: Letter, sending: Sending) -> None:
        sending.acknowledge()
        self._metrics.counter("dead_letter_writes", "ok").inc()
        self._metrics.counter("dead_letters", letter.reject.stage, letter.reject.reason).inc()
        self._wait = _FIRST_WAIT_SECONDS
        if self._trouble is not None and not self._unwritten:
            self._trouble, self._again = None, 0.0
            log.info("Dead letters can be written again.", topic=self._topic)

    def _failed(self, letter: Letter, trouble: str) -> None:
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
            origin=letter.record.origin,
            trouble=trouble,
        )
