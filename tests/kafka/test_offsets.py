"""Where partitions end must never be made up, least of all while the broker is dying."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from confluent_kafka import Producer

from processor.domain.clock import SystemClock
from processor.domain.record import Partition
from processor.kafka.offsets import OffsetQueries
from processor.settings import KafkaSettings
from tests.support.kafka_cluster import RealKafka

_TOPIC = "offsets-under-fire"
_RECORDS = 100
_ASKING = 4
_PLACE = Partition(_TOPIC, 0)


def test_an_answer_that_was_cut_off_is_no_answer(kafka: RealKafka) -> None:
    """The client gives a cut request -1001 as its offset, and calls that a success."""
    kafka.create_topics({_TOPIC: 1})
    _write(kafka)
    ends: set[int] = set()
    starts: set[int] = set()

    with _asking(kafka, ends, starts):
        for _ in range(2):
            Event().wait(1)
            kafka.kill()
            kafka.start()

    assert ends == {_RECORDS}
    assert starts == {0}


@contextmanager
def _asking(kafka: RealKafka, ends: set[int], starts: set[int]) -> Iterator[None]:
    over = Event()

    def ask() -> None:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
        offsets = OffsetQueries(settings, SystemClock())
        while not over.is_set():
            ends.update(offsets.ends_within([_PLACE], 0.2).values())
            starts.update(offsets.starts_within([_PLACE], 0.2).values())

    threads = [Thread(target=ask) for _ in range(_ASKING)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _write(kafka: RealKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for _ in range(_RECORDS):
        producer.produce(_TOPIC, b"x")
    assert producer.flush(30) == 0
