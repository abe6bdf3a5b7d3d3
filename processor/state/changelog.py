"""The changelog topic, written: one flight of values at a time, until all replicas have them.

Nothing is produced while a flight is in the air, so a value that is written again after an error
never overtakes a newer one of the same person. The offsets of a partition's acknowledgements are
contiguous unless somebody else wrote in between: that is how a former owner that lives on, and an
erasure, are noticed.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.clock import Clock, Deadline
from processor.errors import InvariantError
from processor.settings.client import Property
from processor.state.names import Key
from processor.telemetry.metrics import Metrics
from processor.telemetry.quiet import client_logger

__all__ = ["Acks", "Changelog"]

_SILENCE_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Acks:
    """The offsets one flight got in one partition."""

    __slots__ = ("count", "first", "last")

    def __init__(self, offset: int) -> None:
        self.first = self.last = offset
        self.count = 1

    def add(self, offset: int) -> None:
        """Count one more."""
        self.first = min(self.first, offset)
        self.last = max(self.last, offset)
        self.count += 1

    def follow(self, offset: int) -> bool:
        """Return True where these are the next offsets from this one on, without a hole."""
        return self.first == offset and self.last - self.first + 1 == self.count


class Changelog:
    """Writes values by explicit partition until all replicas have them, however long it takes."""

    def __init__(
        self, properties: Mapping[str, Property], topic: str, metrics: Metrics, clock: Clock
    ) -> None:
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._unsent: deque[tuple[Key, bytes | None]] = deque()
        self._unacked = 0
        self._acks: dict[int, Acks] = {}
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._wait = Deadline(clock, 0)
        self._silence = Deadline(clock, 0)
        self._fault: BaseException | None = None
        self._producer = Producer(
            {
                "linger.ms": 5,
                "compression.type": "lz4",
                **properties,
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "error_cb": self._on_error,
            },
            logger=client_logger("changelog", clock),
        )

    @property
    def flying(self) -> bool:
        """Return True while values are on their way."""
        return bool(self._unsent) or self._unacked > 0

    @property
    def holding(self) -> str | None:
        """Return why values are not getting through; None while they are, or there are none."""
        if not self.flying:
            return None
        if self._trouble is None and self._silence.over():
            return f"changelog: no acknowledgement from {self._topic}"
        return self._trouble and f"changelog: {self._trouble}"

    def send(self, values: Mapping[Key, bytes | None]) -> None:
        """Start a flight; None is a tombstone."""
        if self.flying:
            raise InvariantError("A flight of state is in the air already.")
        self._unsent = deque(values.items())
        self._silence = Deadline(self._clock, _SILENCE_SECONDS)
        self._produce()

    def poll(self, seconds: float = 0.0) -> None:
        """Serve reports, and write again what failed; waits for reports at most so long."""
        before = self._unacked
        self._producer.poll(seconds)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        if self._unacked < before:
            self._silence = Deadline(self._clock, _SILENCE_SECONDS)
        if self._unsent and self._wait.over():
            self._produce()

    def landed(self) -> dict[int, Acks]:
        """Return the acknowledgements of a flight that is over, by partition, once."""
        acks, self._acks = self._acks, {}
        for one in acks.values():
            self._metrics.counter("changelog_writes", "ok").inc(one.count)
        self._trouble, self._pause = None, _FIRST_PAUSE
        return acks

    def close(self, seconds: float) -> None:
        """Wait at most so long for what is on its way, then let go of it."""
        self._producer.flush(seconds)
        self._producer.purge()
        self._producer.flush(0)

    def _produce(self) -> None:
        produce, topic, reported, unsent = (
            self._producer.produce,
            self._topic,
            self._on_delivery,
            self._unsent,
        )
        try:
            while unsent:
                (partition, key), value = unsent[0]
                produce(topic, value, key, partition, reported)
                unsent.popleft()
                self._unacked += 1
        except BufferError:
            return  # the client's queue is full: the next poll goes on
        except KafkaException as error:
            self._back_off(error.args[0])

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        # An exception that leaves a callback of the client does harm there: `poll` raises it.
        try:
            self._unacked -= 1
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is not None:
                self._unsent.append(((partition, message.key() or b""), message.value()))
                self._back_off(error)
            elif partition in self._acks:
                self._acks[partition].add(offset)
            else:
                self._acks[partition] = Acks(offset)
        except Exception as fault:  # noqa: BLE001  see above
            self._metrics.counter("callback_errors", "changelog_delivery").inc()
            self._fault = fault

    def _on_error(self, error: KafkaError) -> None:
        try:
            self._metrics.counter("kafka_errors", error.name(), str(error.fatal()).lower()).inc()
            if error.fatal():
                self._fault = InvariantError(f"The changelog producer gave up: {error.str()}")
        except Exception as fault:  # noqa: BLE001  see `_on_delivery`
            self._fault = fault

    def _back_off(self, error: KafkaError) -> None:
        self._metrics.counter("changelog_writes", "failed").inc()
        self._trouble = error.str()
        if self._wait.over():
            self._wait = Deadline(self._clock, self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
