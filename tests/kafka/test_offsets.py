"""The ends of partitions are never wrong, also while a broker dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from confluent_kafka import Producer

from processor.domain.clock import SystemClock
from processor.domain.record import Partition
from processor.kafka.admin import KafkaAdmin
from processor.settings import KafkaSettings
from tests.support.kafka_cluster import RealKafka

_TOPIC = "offsets-while-a-broker-dies"
_RECORDS = 100
_THREADS = 4
_PARTITION = Partition(_TOPIC, 0)


def test_query_that_is_cut_off_has_no_answer(kafka: RealKafka) -> None:
    """The client gives a cut request -1001 as its offset, and reports success."""
    kafka.create_topics({_TOPIC: 1})
    _write(kafka)
    ends: set[int] = set()
    starts: set[int] = set()

    with _querying(kafka, ends, starts):
        for _ in range(2):
            Event().wait(1)
            kafka.kill()
            kafka.start()

    assert ends == {_RECORDS}
    assert starts == {0}


@contextmanager
def _querying(kafka: RealKafka, ends: set[int], starts: set[int]) -> Iterator[None]:
    over = Event()

    def query() -> None:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
        admin = KafkaAdmin(settings, "offsets", SystemClock())
        while not over.is_set():
            for query, found in ((admin.ends, ends), (admin.starts, starts)):
                asked = query([_PARTITION])
                asked.wait(0.2)
                found.update(asked.offsets().values())

    threads = [Thread(target=query) for _ in range(_THREADS)]
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
