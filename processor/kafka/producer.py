"""The one reliable producer: every message is written until all replicas have it.

Dead letters, the changelog and the repartition topic are written with it. librdkafka's callbacks
only collect reports; what follows from a report is done by `poll`, on the caller's stack.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.domain.record import Headers
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.consumer import ClientCallbacks
from processor.kafka.messages import KafkaFault
from processor.settings.kafka_client import Property
from processor.telemetry.labels import AttemptResult, Callback
from processor.telemetry.log_limiter import LogLimiter, client_logger
from processor.telemetry.metric_types import CounterMetric
from processor.telemetry.metrics import Metrics

_WRITE_RETRY: Final = RetryPolicy(first_seconds=0.5, max_seconds=30.0)
_ACKNOWLEDGEMENT_SECONDS: Final = 10.0
"""Without an acknowledgement for this time, the topic counts as unavailable."""
_PURGE_SECONDS: Final = 5.0
_CLOSE_POLL_SECONDS: Final = 0.05
_MAX_MESSAGE_BYTES: Final = 100 << 20
"""Only the broker's own limit counts: a dead letter has more headers than its record."""
_TOO_LARGE_HINT: Final = " (raise the topic's max.message.bytes above that of the inputs)"

log = structlog.get_logger()


class ProducerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a producer is for.

    `part` names it in logs and metrics, `writes` is the metric that counts messages by result, and
    `client` holds librdkafka's properties (`kafka_client.connection`). An unacknowledged message is
    given up by librdkafka, and written again, after `timeout_seconds`; 0 is never. `partitioner` is
    librdkafka's name of one, for messages without a partition.
    """

    part: str
    topic: str
    writes: CounterMetric[AttemptResult]
    client: Mapping[str, Property]
    timeout_seconds: float = 0.0
    partitioner: str | None = None

    def properties(self) -> dict[str, Property]:
        """Return librdkafka's configuration; the delivery guarantee rests on the last ones."""
        chosen = {} if self.partitioner is None else {"partitioner": self.partitioner}
        return {
            "compression.type": "lz4",
            "linger.ms": 5,
            **self.client,
            **chosen,
            # A topic that was deleted is not created by the broker, with settings of its own.
            "allow.auto.create.topics": False,
            "acks": "all",
            "enable.idempotence": True,
            "message.max.bytes": _MAX_MESSAGE_BYTES,
            "message.timeout.ms": round(self.timeout_seconds * 1000),
        }


class OutgoingMessage(msgspec.Struct, eq=False):
    """One message; `partition` -1 leaves the choice to the partitioner.

    `partition` and `offset` say where it is once all replicas have it. `labels` are its owner's.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int = -1
    offset: int = -1
    labels: tuple[str, ...] = ()
    sequence: int = 0
    write: "KafkaWrite | None" = None


class KafkaWrite:
    """Messages that are sent together; `done` once all replicas have every one of them."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    @property
    def done(self) -> bool:
        """Return True when nothing is left to be acknowledged."""
        return self.left == 0


class KafkaProducer:
    """Writes messages to one topic until all replicas have them.

    What fails is sent again after a growing delay, in order and before everything not sent yet. A
    fatal error ends librdkafka's producer, and a new one takes its place: what the old one did not
    report as written is sent again, so it may be in the topic twice.

    All calls come from one thread.
    """

    def __init__(self, config: ProducerConfig, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._callbacks = ClientCallbacks(metrics, clock)
        self._report = self._callbacks.guarded(Callback.DELIVERY, self._on_delivery)
        self._limiter = LogLimiter(clock)
        self._retry = Retry(_WRITE_RETRY, clock)
        self._unsent: deque[OutgoingMessage] = deque()
        self._in_flight: set[OutgoingMessage] = set()
        self._reports: list[tuple[OutgoingMessage, KafkaError | None]] = []
        self._sequence = 0
        self._error: str | None = None
        self._fatal = False
        self._acknowledgement = Deadline(clock, 0)
        self._producer = self._open()

    @property
    def unwritten(self) -> int:
        """Return how many messages are not acknowledged."""
        return len(self._unsent) + len(self._in_flight)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why messages are not written; None while they are, or there are none."""
        if not self.unwritten:
            return None
        if self._error is None and not self._acknowledgement.over():
            return None
        return f"{self._config.topic} cannot be written: {self._error or 'no acknowledgement'}"

    def send(self, messages: Iterable[OutgoingMessage]) -> KafkaWrite:
        """Write messages; never blocks. Ask the answer's `done` after later polls."""
        if not self.unwritten:
            self._acknowledgement = Deadline(self._clock, _ACKNOWLEDGEMENT_SECONDS)
        write = KafkaWrite(0)
        for message in messages:
            self._sequence += 1
            message.sequence, message.write = self._sequence, write
            write.left += 1
            self._unsent.append(message)
        self._produce()
        return write

    def poll(self, seconds: float = 0.0) -> list[OutgoingMessage]:
        """Serve reports and send what is unsent; return what was acknowledged.

        Waits at most `seconds` for a report. Raises InvariantError where a callback failed.
        """
        try:
            self._producer.poll(seconds)
        except KafkaException as error:
            self._note_fatal(error.args[0])
        raised, self._callbacks.raised = self._callbacks.raised, None
        if raised is not None:
            part = self._config.part
            raise InvariantError(f"A callback of the {part} producer failed.") from raised
        acknowledged = self._take_reports()
        if self._fatal and self._retry.due:
            acknowledged += self._replace()
        if self._unsent:
            self._produce()
        return acknowledged

    def close(self, seconds: float) -> list[OutgoingMessage]:
        """Write what is unwritten within `seconds`, then give it up; as `poll` else."""
        deadline = Deadline(self._clock, seconds)
        self._produce()
        acknowledged = self.poll()
        while self.unwritten and not deadline.over():
            acknowledged += self.poll(min(_CLOSE_POLL_SECONDS, deadline.left()))
        # Without a purge the client's destructor waits for what is still to be sent.
        return acknowledged + self._purge(0)

    def _open(self) -> Producer:
        part = self._config.part
        callback = self._callbacks.guarded(Callback.ERROR, self._on_error)
        return Producer(
            {**self._config.properties(), "error_cb": callback},
            logger=client_logger(f"{part} producer", self._clock),
        )

    def _produce(self) -> None:
        if self._fatal or not self._retry.due:
            return
        produce, topic, unsent = self._producer.produce, self._config.topic, self._unsent
        try:
            while unsent:
                message = unsent[0]
                produce(
                    topic,
                    message.value,
                    message.key,
                    message.partition,
                    partial(self._report, message),
                    headers=list(message.headers),
                )
                self._in_flight.add(unsent.popleft())
        except BufferError:
            return  # the client's queue is full: the next poll goes on
        except KafkaException as error:
            self._note_failure(error.args[0], 1)

    def _take_reports(self) -> list[OutgoingMessage]:
        """Return the acknowledged messages of all reports; the others become unsent, in order."""
        if not self._reports:
            return []
        reports, self._reports = self._reports, []
        self._acknowledgement = Deadline(self._clock, _ACKNOWLEDGEMENT_SECONDS)
        self._in_flight.difference_update([message for message, _ in reports])
        acknowledged = [message for message, error in reports if error is None]
        for message in acknowledged:
            if message.write is not None:
                message.write.left -= 1
        if acknowledged:
            self._metrics.counter(self._config.writes, AttemptResult.OK).inc(len(acknowledged))
        failures = [(message, error) for message, error in reports if error is not None]
        if failures:
            self._send_again([message for message, _ in failures])
            self._note_failure(failures[-1][1], len(failures))
        elif self._error is not None and not self._unsent:
            self._error = None
            self._retry.succeeded()
            log.info(
                "The topic can be written again.",
                code="kafka_topic_writable",
                topic=self._config.topic,
            )
        return acknowledged

    def _send_again(self, messages: Iterable[OutgoingMessage]) -> None:
        self._unsent.extend(messages)
        self._unsent = deque(sorted(self._unsent, key=lambda message: message.sequence))

    def _note_failure(self, error: KafkaError, count: int) -> None:
        """Count failed messages, and start a delay where the failure belongs to no earlier one."""
        self._metrics.counter(self._config.writes, AttemptResult.FAILED).inc(count)
        self._fatal = self._fatal or _is_fatal(error)
        if self._error is not None and not self._retry.due:
            return
        self._error = error.str()
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._error += _TOO_LARGE_HINT
        self._retry.failed()
        suppressed = self._limiter.due("write")
        if suppressed is not None:
            log.warning(
                "A message could not be written and is sent again.",
                code="kafka_write_failed",
                topic=self._config.topic,
                kafka_code=error.name(),
                error=self._error,
                suppressed=suppressed,
            )

    def _note_fatal(self, error: KafkaError) -> None:
        """Note an error that `poll` or `flush` raised.

        librdkafka's client raises a fatal error there, and does not call `error_cb` for it.
        """
        self._callbacks.report(KafkaFault.of(error), self._config.part)
        self._fatal = True
        self._error = error.str()
        self._retry.failed()

    def _replace(self) -> list[OutgoingMessage]:
        """Begin with a new producer; return what the old one had written after all.

        Messages whose result is unknown count as unsent.
        """
        acknowledged = self._purge(_PURGE_SECONDS)
        self._send_again(self._in_flight)
        self._in_flight = set()
        self._producer = self._open()
        self._fatal = False
        log.warning(
            "The producer was replaced.",
            code="kafka_producer_replaced",
            part=self._config.part,
            messages=len(self._unsent),
        )
        return acknowledged

    def _purge(self, seconds: float) -> list[OutgoingMessage]:
        """Take back what librdkafka has not sent, or has no answer for; its reports say so."""
        try:
            self._producer.purge()
            self._producer.flush(seconds)
        except KafkaException as error:
            self._note_fatal(error.args[0])
        return self._take_reports()

    def _on_delivery(
        self, message: OutgoingMessage, error: KafkaError | None, delivered: Message
    ) -> None:
        if error is None:
            message.partition = delivered.partition() or 0
            message.offset = delivered.offset() or 0
        self._reports.append((message, error))

    def _on_error(self, error: KafkaError) -> None:
        self._callbacks.report(KafkaFault.of(error), self._config.part)
        self._fatal = self._fatal or _is_fatal(error)


def _is_fatal(error: KafkaError) -> bool:
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001  a public constant
