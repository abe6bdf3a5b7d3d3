from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import UnavailableError
from processor.simulator.broker import Api, EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"scores": 6, "events": 2}) as running:
        yield running


def produce(broker: EmbeddedBroker, *values: bytes, topic: str = "scores") -> list[int]:
    offsets: list[int] = []

    def settled(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        offsets.append(message.offset() or 0)

    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, key=b"k", partition=0, on_delivery=settled)
    assert producer.flush(10) == 0
    return offsets


def read(broker: EmbeddedBroker, count: int, topic: str = "scores") -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes] = []
    deadline = Deadline(SystemClock(), 10)
    while len(values) < count and not deadline.over():
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            values.append(message.value() or b"")
    consumer.close()
    return values


def test_topics_have_the_partitions_asked_for(broker: EmbeddedBroker) -> None:
    broker.create_topic("dead-letters", 3)

    topics = Producer({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics

    counts = {name: len(topic.partitions) for name, topic in topics.items()}
    assert counts == {"scores": 6, "events": 2, "dead-letters": 3}


def test_produced_records_are_consumed_in_order(broker: EmbeddedBroker) -> None:
    assert produce(broker, b"one", b"two", b"three") == [0, 1, 2]

    assert read(broker, 3) == [b"one", b"two", b"three"]


def test_group_is_assigned_its_partitions_within_a_second(broker: EmbeddedBroker) -> None:
    produce(broker, b"one")
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "group",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["scores"])
    deadline = Deadline(SystemClock(), 10)

    message = None
    while message is None and not deadline.over():
        message = consumer.poll(0.2)
    assert message is not None
    consumer.commit(message=message, asynchronous=False)
    committed = consumer.committed([TopicPartition("scores", 0)], timeout=5)
    consumer.close()

    assert [mark.offset for mark in committed] == [1]


def test_transient_produce_error_is_retried_and_a_permanent_one_is_reported(
    broker: EmbeddedBroker,
) -> None:
    broker.fail_requests(Api.PRODUCE, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT)  # noqa: SLF001  the client's own name

    assert produce(broker, b"one") == [0]

    broker.fail_requests(Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(AssertionError, match="MSG_SIZE_TOO_LARGE"):
        produce(broker, b"two")


def test_request_does_not_fail_after_its_errors_are_cleared(broker: EmbeddedBroker) -> None:
    broker.fail_requests(Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    broker.heal_requests(Api.PRODUCE)

    assert produce(broker, b"one") == [0]


def test_broker_that_is_down_answers_nothing_and_keeps_its_records(
    broker: EmbeddedBroker,
) -> None:
    produce(broker, b"one")

    broker.broker_down()
    with pytest.raises(KafkaException):
        Producer({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=1)
    broker.broker_up()

    assert read(broker, 1) == [b"one"]


def test_deleted_records_raise_the_low_watermark(broker: EmbeddedBroker) -> None:
    produce(broker, b"one", b"two", b"three")

    broker.delete_records("scores", 0, before=2)

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    assert consumer.get_watermark_offsets(TopicPartition("scores", 0), timeout=5) == (2, 3)
    consumer.close()


def test_leader_moves_to_another_broker() -> None:
    with EmbeddedBroker({"scores": 1}, brokers=3) as broker:
        broker.move_leader("scores", 0, 3)

        metadata = Producer({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10)

        assert len(metadata.brokers) == 3
        assert metadata.topics["scores"].partitions[0].leader == 3


def test_commits_continue_after_the_coordinator_moves() -> None:
    with EmbeddedBroker({"scores": 1}, brokers=3) as broker:
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "group"})
        for number in (1, 2):
            broker.move_coordinator("group", number)
            mark = TopicPartition("scores", 0, number)
            consumer.commit(offsets=[mark], asynchronous=False)

        committed = consumer.committed([TopicPartition("scores", 0)], timeout=5)
        consumer.close()

        assert committed[0].offset == 2


def test_deleted_topic_loses_its_records(broker: EmbeddedBroker) -> None:
    produce(broker, b"one")
    broker.delete_topic("scores")
    broker.create_topic("scores", 6)

    assert produce(broker, b"two") == [0]


def test_requests_are_counted_by_kind_and_broker(broker: EmbeddedBroker) -> None:
    broker.track_requests()

    produce(broker, b"one")

    assert (1, Api.PRODUCE) in broker.requests()
    broker.track_requests()
    assert broker.requests() == []


def test_round_trip_takes_as_long_as_set(broker: EmbeddedBroker) -> None:
    produce(broker, b"one")
    broker.rtt(300)
    clock = SystemClock()
    started = clock.monotonic()

    produce(broker, b"two")

    assert clock.monotonic() - started >= 0.3


def test_closed_broker_raises(broker: EmbeddedBroker) -> None:
    broker.close()
    broker.close()

    with pytest.raises(UnavailableError, match="closed"):
        broker.create_topic("more", 1)


def test_unknown_broker_is_refused(broker: EmbeddedBroker) -> None:
    with pytest.raises(UnavailableError, match="broker 9"):
        broker.broker_down(9)
