import threading
from collections.abc import Iterator
from itertools import islice

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from processor.domain.errors import UnavailableError
from processor.simulator.broker import Api, EmbeddedBroker
from processor.simulator.feed import Feed
from processor.simulator.history.settings import InputRecord


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"scores": 3, "events": 3}) as running:
        yield running


def records(topic: str = "scores", size: int = 100) -> Iterator[InputRecord]:
    for number in range(1_000_000):
        yield InputRecord(topic, b"C%d" % (number % 97), b"x" * size, 0)


def commit_all(broker: EmbeddedBroker, group_id: str) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group_id})
    partitions = [TopicPartition("scores", number) for number in range(3)]
    ends = [consumer.get_watermark_offsets(each, timeout=5)[1] for each in partitions]
    offsets = [TopicPartition("scores", number, end) for number, end in enumerate(ends)]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def test_all_records_are_sent_and_counted(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap)
    seen: list[int] = []

    sent = feed.send(islice(records(), 2_000), seen.append)
    feed.close()

    assert (sent, feed.sent["scores"]) == (2_000, 2_000)
    assert seen == sorted(seen)


def test_a_key_goes_to_the_same_partition_of_both_topics(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap)
    for topic in ("scores", "events"):
        feed.send(islice(records(topic), 97))
    feed.close()

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition(name, n, 0) for name in ("scores", "events") for n in range(3)])
    placed: dict[bytes, set[int]] = {}
    for message in consumer.consume(194, timeout=10):
        placed.setdefault(message.key() or b"", set()).add(message.partition() or 0)
    consumer.close()

    assert len(placed) == 97
    assert all(len(numbers) == 1 for numbers in placed.values())


def test_a_feed_waits_for_the_group_and_fails_when_it_stalls(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap, "group", partition_bytes=100_000, stall_seconds=0.5)

    with pytest.raises(UnavailableError, match="nothing was committed"):
        feed.send(records(size=1_000))
    sent = feed.sent.total()
    feed.close()

    assert 100 < sent < 1_500


def test_a_feed_continues_when_the_group_commits(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap, "group", partition_bytes=100_000, stall_seconds=5)

    sent_all = threading.Event()

    def keep_up() -> None:
        while not sent_all.wait(0.05):
            commit_all(broker, "group")

    reader = threading.Thread(target=keep_up)
    reader.start()
    sent = feed.send(islice(records(size=1_000), 3_000))
    sent_all.set()
    reader.join()
    commit_all(broker, "group")
    lag = feed.lag()
    feed.close()

    assert (sent, lag) == (3_000, 0)


def test_a_feed_fails_when_unread_records_are_dropped(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap, "group", partition_bytes=100_000, stall_seconds=5)
    feed.send(islice(records(size=1_000), 200))
    broker.delete_records("scores", 0, before=20)

    with pytest.raises(UnavailableError, match="scores/0 dropped 20 records"):
        feed.send(islice(records(size=1_000), 3_000))
    feed.close()


def test_a_refused_record_is_an_error(broker: EmbeddedBroker) -> None:
    broker.fail_requests(Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    feed = Feed(broker.bootstrap)

    with pytest.raises(UnavailableError, match="scores"):
        feed.send(islice(records(), 10))
    feed.close()


def test_a_stopped_feed_sends_no_more(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap)

    sent = feed.send(records(), lambda _: feed.stop())
    feed.close()

    assert 0 < sent < 5_000


def test_large_records_are_sent(broker: EmbeddedBroker) -> None:
    feed = Feed(broker.bootstrap)

    assert feed.send([InputRecord("scores", b"k", b"x" * 1_500_000, 0)]) == 1
    feed.close()
    topics = Producer({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=5).topics
    assert "scores" in topics
