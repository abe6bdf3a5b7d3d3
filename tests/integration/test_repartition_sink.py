"""The repartition sink on an embedded broker: on which partition a message is."""

from collections.abc import Iterator

import pytest

from processor.domain.clock import SystemClock
from processor.kafka.partitioner import PARTITIONERS
from processor.kafka.producer import KafkaWrite
from processor.repartition.sink import KafkaRepartitionSink
from processor.settings import KafkaSettings
from processor.simulator.broker import EmbeddedBroker
from processor.telemetry.metrics import Metrics
from tests.support.kafka_io import read_all
from tests.support.waiting import until

TOPIC, COUNT = "facts", 7


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: COUNT}) as running:
        yield running


def sink_for(broker: EmbeddedBroker, metrics: Metrics, **kafka: object) -> KafkaRepartitionSink:
    page = {"bootstrap_servers": broker.bootstrap, "client": {"log_level": 0}, **kafka}
    return KafkaRepartitionSink(KafkaSettings.model_validate(page), TOPIC, metrics, SystemClock())


def wait_done(repartition: KafkaRepartitionSink, write: KafkaWrite, seconds: float = 10) -> None:
    def done() -> bool:
        repartition.poll()
        return write.done

    until(
        done,
        seconds=seconds,
        what="all is written",
        every=0.01,
        tell=lambda: repartition.unavailable_reason,
    )


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_a_key_is_on_the_partition_that_a_producer_of_scores_chooses(
    broker: EmbeddedBroker, partitioner: str
) -> None:
    repartition = sink_for(broker, Metrics(), partitioner=partitioner)
    keys = [b"%038d" % number for number in range(60)]

    wait_done(repartition, repartition.send([(key, b"fact") for key in keys]))

    found = {record.key: record.partition for record in read_all(broker, TOPIC, len(keys))}
    assert found == {key: PARTITIONERS[partitioner](key, COUNT) for key in keys}
    assert repartition.close(5)


def test_closing_reports_unwritten_messages(broker: EmbeddedBroker) -> None:
    repartition = sink_for(broker, Metrics())
    broker.broker_down()
    write = repartition.send([(b"key", b"fact")])

    assert not repartition.close(0.3)
    assert not write.done
