"""The Kafka producer behind a wall: its callbacks never raise, its closing never waits for ever."""

from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError
from processor.domain.record import Headers
from processor.settings import DeadLetterSettings, KafkaSettings
from processor.settings.kafka_client import Property, connection
from processor.telemetry.log_limiter import LogLimiter, client_logger
from processor.telemetry.metrics import Metrics

Report = Callable[[str | None], None]
"""Told how a write ended: None is well, else why not."""

_MAX_MESSAGE_BYTES = 100 << 20
"""Only the broker's own limit counts: a letter is larger than its record by our headers."""
_PURGE_SECONDS = 5.0

log = structlog.get_logger()


def producer_properties(
    kafka: KafkaSettings, dead_letter: DeadLetterSettings
) -> dict[str, Property]:
    """Return librdkafka's producer configuration; raises SettingsError for what is ours to set."""
    return {
        "compression.type": "lz4",
        "linger.ms": 5,
        **connection(
            kafka.bootstrap_servers,
            f"{kafka.group_id}-dead-letters",
            kafka.client,
            dead_letter.client,
        ),
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "delivery.timeout.ms": round(dead_letter.delivery_timeout_seconds * 1000),
    }


class KafkaProducer:
    """One producer, replaced by a new one when it dies."""

    def __init__(self, properties: dict[str, Property], metrics: Metrics, clock: Clock) -> None:
        self._properties = properties
        self._metrics = metrics
        self._clock = clock
        self._limiter = LogLimiter(clock)
        self._fault: BaseException | None = None
        self._dead = False
        self._producer = self._open()

    def write(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, report: Report
    ) -> bool:
        """Hand over one message; `report` hears of it in a later `poll`. False: the queue is full.

        Raises KafkaException where it can not be taken at all; then nothing is reported.
        """
        try:
            self._producer.produce(
                topic,
                value=value,
                key=key,
                headers=list(headers),
                on_delivery=self._reporting(report),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._dead = self._dead or error.args[0].fatal()
            raise
        return True

    def poll(self) -> None:
        """Serve reports; raises what a callback raised."""
        self._producer.poll(0)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise InvariantError("A report of the dead-letter producer failed.") from fault
        if self._dead:
            self._replace()

    def flush(self, seconds: float) -> int:
        """Wait for answers; return how many are still out."""
        return self._producer.flush(seconds)

    def close(self, seconds: float) -> int:
        """Wait for answers, drop what has none, and return how many that were."""
        left = self._producer.flush(seconds)
        self._producer.purge(blocking=False)
        return left

    def _open(self) -> Producer:
        return Producer(
            {**self._properties, "error_cb": self._on_error},
            logger=client_logger("kafka-dead-letters", self._clock),
        )

    def _replace(self) -> None:
        log.warning("The dead-letter producer died and is replaced.")
        self._dead = False
        self._producer.purge()
        if self._producer.flush(_PURGE_SECONDS):
            raise InvariantError("A dead producer did not give its letters back.")
        self._producer = self._open()

    def _reporting(self, report: Report) -> Callable[[KafkaError | None, Message], None]:
        def reporting(error: KafkaError | None, _: Message) -> None:
            try:
                if error is not None:
                    self._dead = self._dead or error.fatal()
                report(None if error is None else f"{error.name()}: {error.str()}")
            except BaseException as raised:  # noqa: BLE001  the client would swallow or abort
                self._metrics.counter("callback_errors", "delivery").inc()
                self._fault = self._fault or raised

        return reporting

    def _on_error(self, error: KafkaError) -> None:
        try:
            fatal = error.fatal()
            self._dead = self._dead or fatal
            self._metrics.counter("kafka_errors", error.name(), str(fatal).lower()).inc()
            suppressed = self._limiter.due(error.name())
            if suppressed is not None:
                log.warning(
                    "Kafka reported an error.",
                    code=error.name(),
                    words=error.str(),
                    where="dead letters",
                    suppressed=suppressed,
                )
        except BaseException as raised:  # noqa: BLE001  likewise
            self._fault = self._fault or raised
