"""Messages out to the internal topic, each until all replicas have it.

No side door, where experience events are keyed as scores are.
"""

import random
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.settings import KafkaSettings
from processor.settings.kafka_client import Property, connection
from processor.telemetry.log_limiter import client_logger
from processor.telemetry.metrics import Metrics


class NoRepartitionSink:
    """Forwards nothing, because nothing is to be forwarded."""

    unavailable_reason: str | None = None
    done = True

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> "NoRepartitionSink":
        """Return at once; raises InvariantError where there is anything to send."""
        if messages:
            raise InvariantError("There is no topic to forward to.")
        return self

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> bool:
        """Flush nothing."""
        del seconds
        return True


_SILENCE_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_PARTITIONERS: Final = {"murmur2": "murmur2", "crc32": "consistent"}
_MAX_MESSAGE_BYTES: Final = 100 << 20
"""Only the broker's own limit counts."""

log = structlog.get_logger()


class RepartitionWrite:
    """Messages on their way; `done` once all replicas have every one of them."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    @property
    def done(self) -> bool:
        """Return True when nothing is left to be acknowledged."""
        return self.left == 0


class KafkaRepartitionSink:
    """The internal topic. What can not be written is held and tried again, never lost.

    A message written twice says the same twice, which changes nothing; so does one that overtakes
    another. Keys choose partitions as the scores' producers do it (`kafka.partitioner`).
    """

    def __init__(self, kafka: KafkaSettings, topic: str, metrics: Metrics, clock: Clock) -> None:
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._unsent: deque[tuple[bytes, bytes, RepartitionWrite]] = deque()
        self._flying = 0
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._wait = Deadline(clock, 0)
        self._silence = Deadline(clock, 0)
        self._fault: BaseException | None = None
        self._producer = Producer(
            {**repartition_properties(kafka), "error_cb": self._on_error},
            logger=client_logger("kafka-forward", clock),
        )

    @property
    def unavailable_reason(self) -> str | None:
        """Return why messages are not getting through; None while they are, or there are none."""
        if self._trouble is not None:
            return f"{self._topic} can not be written: {self._trouble}"
        if self._flying and self._silence.over():
            return f"{self._topic} can not be written: there is no acknowledgement"
        return None

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> RepartitionWrite:
        """Write keys and values; never blocks. Ask the answer's `done` after later polls."""
        sending = RepartitionWrite(len(messages))
        if not self._flying:
            self._silence = Deadline(self._clock, _SILENCE_SECONDS)
        self._unsent.extend((key, value, sending) for key, value in messages)
        self._write()
        return sending

    def poll(self) -> None:
        """Serve answers and write what waits; called on every turn of the loop."""
        self._serve(0)
        self._write()

    def close(self, seconds: float) -> bool:
        """Wait so long for answers; False where messages stay unwritten, and so uncommitted."""
        deadline = Deadline(self._clock, seconds)
        self._write()
        while (self._flying or self._unsent) and not deadline.over():
            self._serve(min(0.05, deadline.left()))
            self._write()
        self._producer.purge()
        self._producer.flush(0)
        return not self._flying and not self._unsent

    def _serve(self, seconds: float) -> None:
        before = self._flying
        self._producer.poll(seconds)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise InvariantError("The producer of the internal topic failed.") from fault
        if self._flying < before:
            self._silence = Deadline(self._clock, _SILENCE_SECONDS)

    def _write(self) -> None:
        if self._trouble is not None and not self._wait.over():
            return
        try:
            while self._unsent:
                key, value, sending = self._unsent[0]
                report = partial(self._on_delivery, sending)
                self._producer.produce(self._topic, value, key, on_delivery=report)
                self._unsent.popleft()
                self._flying += 1
        except BufferError:
            return  # the client's queue is full: the next poll goes on
        except KafkaException as error:
            self._failed(error.args[0])

    def _on_delivery(
        self, sending: RepartitionWrite, error: KafkaError | None, message: Message
    ) -> None:
        # An exception that leaves a callback of the client does harm there: `poll` raises it.
        try:
            self._flying -= 1
            if error is None:
                self._written(sending)
            else:
                self._unsent.append((message.key() or b"", message.value() or b"", sending))
                self._failed(error)
        except Exception as fault:  # noqa: BLE001  see above
            self._metrics.counter("callback_errors", "forward_delivery").inc()
            self._fault = fault

    def _written(self, sending: RepartitionWrite) -> None:
        sending.left -= 1
        self._metrics.counter("repartition_writes", "ok").inc()
        if self._trouble is not None:
            self._trouble, self._pause = None, _FIRST_PAUSE
            log.info("The internal topic can be written again.", topic=self._topic)

    def _failed(self, error: KafkaError) -> None:
        self._metrics.counter("repartition_writes", "failed").inc()
        if self._trouble is not None and not self._wait.over():
            return  # another message of a round that has failed already
        self._trouble = error.str()
        self._wait = Deadline(self._clock, self._pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        log.warning(
            "A fact could not be forwarded; it is held and tried again.",
            topic=self._topic,
            trouble=self._trouble,
        )

    def _on_error(self, error: KafkaError) -> None:
        try:
            self._metrics.counter("kafka_errors", error.name(), str(error.fatal()).lower()).inc()
            if error.fatal():
                self._fault = InvariantError(f"The producer gave up: {error.str()}")
        except Exception as fault:  # noqa: BLE001  see `_on_delivery`
            self._fault = fault


def repartition_properties(kafka: KafkaSettings) -> dict[str, Property]:
    """Return librdkafka's producer configuration; raises SettingsError for what is ours to set."""
    return {
        "linger.ms": 5,
        "compression.type": "lz4",
        **connection(kafka.bootstrap_servers, f"{kafka.group_id}-forward", kafka.client),
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": 0,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "partitioner": _PARTITIONERS[kafka.partitioner],
    }
