"""One record by its place in Kafka, read without a trace in any group."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.domain.record import Record
from processor.kafka.messages import records
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger

_SECONDS = 10.0


def fetch(
    kafka: KafkaSettings, topic: str, partition: int, offset: int, *, clock: Clock
) -> Record | None:
    """Return the record at a place, None where there is none; UnavailableError in an outage."""
    consumer = Consumer(
        {
            **connection(kafka.bootstrap_servers, f"{kafka.group_id}-explain", kafka.client),
            "group.id": f"{kafka.group_id}-explain",  # never joined, never committed to
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
        },
        logger=client_logger("kafka-explain", clock),
    )
    try:
        return _at(consumer, TopicPartition(topic, partition, offset), clock)
    except KafkaException as error:
        if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  a public constant
            return None
        raise UnavailableError("Kafka", error.args[0].str()) from error
    finally:
        consumer.close()


def _at(consumer: Consumer, place: TopicPartition, clock: Clock) -> Record | None:
    low, high = consumer.get_watermark_offsets(place, timeout=_SECONDS)
    if not low <= place.offset < high:
        return None
    consumer.assign([place])
    deadline = Deadline(clock, _SECONDS)
    while not deadline.over():
        messages = consumer.consume(1, 0.5)
        found = next((each for each in records(messages) if each.offset == place.offset), None)
        if found is not None:
            return found
        if messages:
            return None  # a hole: compacted away, or the mark of a transaction
    raise UnavailableError("Kafka", "the record did not come in time")
