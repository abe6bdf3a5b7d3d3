"""The side door against the embedded broker: where messages go, and what an outage does to them."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from processor.domain.clock import SystemClock
from processor.kafka.partitioner import PARTITIONERS
from processor.kafka.producer import KafkaWrite
from processor.repartition.sink import KafkaRepartitionSink
from processor.settings import KafkaSettings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.metrics import Metrics
from tests.support.kafka_io import read_all
from tests.support.waiting import until

TOPIC, COUNT = "facts", 7


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: COUNT}) as running:
        yield running


def forward_to(broker: EmbeddedBroker, metrics: Metrics, **kafka: object) -> KafkaRepartitionSink:
    page = {"bootstrap_servers": broker.bootstrap, "client": {"log_level": 0}, **kafka}
    return KafkaRepartitionSink(KafkaSettings.model_validate(page), TOPIC, metrics, SystemClock())


def wait_done(repartition: KafkaRepartitionSink, sending: KafkaWrite, seconds: float = 10) -> None:
    def done() -> bool:
        repartition.poll()
        return sending.done

    until(
        done,
        seconds=seconds,
        what="all is written",
        every=0.01,
        tell=lambda: repartition.unavailable_reason,
    )


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_messages_are_where_a_producer_of_scores_puts_the_same_key(
    broker: EmbeddedBroker, partitioner: str
) -> None:
    repartition = forward_to(broker, Metrics(), partitioner=partitioner)
    keys = [b"%038d" % number for number in range(60)]

    wait_done(repartition, repartition.send([(key, b"said") for key in keys]))

    found = {record.key: record.partition for record in read_all(broker, TOPIC, len(keys))}
    assert found == {key: PARTITIONERS[partitioner](key, COUNT) for key in keys}
    assert repartition.close(5)


def test_what_the_topic_refuses_is_held_and_written_later(broker: EmbeddedBroker) -> None:
    metrics = Metrics()
    repartition = forward_to(broker, metrics)
    refusals = [KafkaError.TOPIC_AUTHORIZATION_FAILED] * 2
    broker.fail_requests(Api.PRODUCE, *refusals)
    sending = repartition.send([(b"key", b"said")])

    def held() -> bool:
        repartition.poll()
        return repartition.unavailable_reason is not None

    until(held, seconds=10, what="the door holds", every=0.01)
    assert not sending.done
    assert TOPIC in str(repartition.unavailable_reason)

    wait_done(repartition, sending)

    assert repartition.unavailable_reason is None
    assert [record.value for record in read_all(broker, TOPIC, 1)] == [b"said"]
    assert metrics.value("repartition_writes", "failed") >= 1
    assert metrics.value("repartition_writes", "ok") == 1
    assert repartition.close(5)


def test_closing_tells_what_stays_unwritten(broker: EmbeddedBroker) -> None:
    repartition = forward_to(broker, Metrics())
    broker.broker_down()
    sending = repartition.send([(b"key", b"said")])

    assert not repartition.close(0.3)
    assert not sending.done
