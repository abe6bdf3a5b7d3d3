"""Dead letters on an embedded broker: written, and read again."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError

from processor.dead_letter.dead_letter import read
from processor.dead_letter.reader import DeadLetterReader, Selection
from processor.dead_letter.sink import KafkaDeadLetterSink, dead_letter_topic
from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import UnavailableError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.kafka.admin import KafkaAdmin
from processor.kafka.internal_topic import OwnTopicWatch
from processor.settings import Settings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.catalogue import DEAD_LETTER_WRITES, DEAD_LETTERS
from processor.telemetry.labels import AttemptResult
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.kafka_io import produce, read_all
from tests.support.settings import settings_with
from tests.support.topic_layout import FakeTopicLayout
from tests.support.waiting import until

TOPIC = "customer-ai-dead-letters"
REJECT = Reject(Stage.READ, Reason.BAD_SCORE, "The score is 101.")


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: 2}) as running:
        yield running


def settings(broker: EmbeddedBroker) -> Settings:
    return settings_with(
        {
            "kafka/bootstrap_servers": broker.bootstrap,
            "dead_letter/delivery_timeout_seconds": 1,
        }
    )


def record(offset: int, value: bytes | None = b"value") -> Record:
    return Record("scores", 1, offset, 1_700_000_000_000, b"key", value, (("a", None), ("a", b"1")))


def poll_until(dead_letters: KafkaDeadLetterSink, done: Callable[[], object], what: str) -> None:
    def polled() -> bool:
        dead_letters.poll()
        return bool(done())

    until(polled, seconds=9, what=what, every=0.01)


def test_a_dead_letter_is_read_as_the_record_was(broker: EmbeddedBroker) -> None:
    metrics = Metrics()
    dead_letters = KafkaDeadLetterSink(settings(broker), metrics, SystemClock())
    records = [record(1), record(2, None), record(3, b"")]

    write = dead_letters.send([(each, REJECT) for each in records])
    assert not write.done
    poll_until(dead_letters, lambda: write.done, "the acknowledgement")

    written = [read(found) for found in read_all(broker, TOPIC, 3)]
    assert [each.record for each in written if each] == records
    assert metrics.value(DEAD_LETTERS, Stage.READ, Reason.BAD_SCORE) == 3
    assert dead_letters.unavailable_reason is None
    assert dead_letters.close(5)


def test_an_empty_write_is_done_at_once_on_a_broker(broker: EmbeddedBroker) -> None:
    assert KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock()).send([]).done


def test_refused_dead_letters_are_written_when_the_topic_is_writable_again(
    broker: EmbeddedBroker,
) -> None:
    metrics = Metrics()
    dead_letters = KafkaDeadLetterSink(settings(broker), metrics, SystemClock())
    broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 3)

    write = dead_letters.send([(record(1), REJECT)])
    poll_until(dead_letters, lambda: dead_letters.unavailable_reason, "the sink is unavailable")
    assert "cannot be written" in (dead_letters.unavailable_reason or "")
    assert not write.done
    broker.heal_requests(Api.PRODUCE)
    poll_until(dead_letters, lambda: write.done, "the recovery")

    assert dead_letters.unavailable_reason is None
    assert metrics.value(DEAD_LETTER_WRITES, AttemptResult.FAILED) >= 1
    assert len(read_all(broker, TOPIC, 1)) == 1
    assert dead_letters.close(5)


def test_dead_letters_are_written_when_the_brokers_are_back(broker: EmbeddedBroker) -> None:
    dead_letters = KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock())
    first = dead_letters.send([(record(1), REJECT)])
    poll_until(dead_letters, lambda: first.done, "the first dead letter")
    broker.broker_down()

    second = dead_letters.send([(record(2), REJECT)])
    poll_until(dead_letters, lambda: dead_letters.unavailable_reason, "the sink is unavailable")
    broker.broker_up()
    poll_until(dead_letters, lambda: second.done, "the second dead letter")

    assert dead_letters.close(5)


def test_closing_without_brokers_is_over_in_time(broker: EmbeddedBroker) -> None:
    dead_letters = KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock())
    broker.broker_down()
    dead_letters.send([(record(1), REJECT)])

    deadline = Deadline(SystemClock(), 1.5)
    assert not dead_letters.close(0.5)

    assert not deadline.over()


def test_a_scan_finds_dead_letters_and_other_records(broker: EmbeddedBroker) -> None:
    configured = settings(broker)
    dead_letters = KafkaDeadLetterSink(configured, Metrics(), SystemClock())
    other = Reject(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, "No route takes it.")
    write = dead_letters.send([(record(1), REJECT), (record(2), other), (record(3), REJECT)])
    poll_until(dead_letters, lambda: write.done, "the dead letters")
    produce(broker, TOPIC, [b"no dead letter"])
    reader = DeadLetterReader(configured, SystemClock())
    progress: list[tuple[int, int]] = []

    scanned = list(reader.scan(lambda done, total: progress.append((done, total))))
    selected = list(reader.select(Selection(reasons=frozenset({Reason.UNKNOWN_PREDICTION}))))

    assert len(scanned) == 4
    assert sum(found.dead_letter is None for found in scanned) == 1
    assert progress[-1] == (4, 4)
    assert [found.dead_letter.record.offset for found in selected if found.dead_letter] == [2]
    assert reader.one(selected[0].partition, selected[0].offset) == selected[0]
    assert reader.one(0, 999) is None
    assert dead_letters.close(5)


def test_an_empty_topic_has_no_dead_letters(broker: EmbeddedBroker) -> None:
    assert list(DeadLetterReader(settings(broker), SystemClock()).scan()) == []


def test_a_scan_of_a_missing_topic_names_it(broker: EmbeddedBroker) -> None:
    broker.fail_topic(TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)

    with pytest.raises(UnavailableError, match=TOPIC):
        list(DeadLetterReader(settings(broker), SystemClock()).scan())


def test_a_topic_that_is_gone_is_not_created_by_a_write(broker: EmbeddedBroker) -> None:
    """The broker would give it settings of its own."""
    configured = settings_with(
        {
            "kafka/bootstrap_servers": broker.bootstrap,
            "dead_letter/topic": "gone",
            "dead_letter/delivery_timeout_seconds": 1,
        }
    )
    dead_letters = KafkaDeadLetterSink(configured, Metrics(), SystemClock())

    write = dead_letters.send([(record(1), REJECT)])
    poll_until(dead_letters, lambda: dead_letters.unavailable_reason, "the topic is missed")

    assert "gone cannot be written" in str(dead_letters.unavailable_reason)
    assert not write.done
    assert not dead_letters.close(0)
    admin = KafkaAdmin(configured.kafka, "test", SystemClock())
    assert list(admin.cluster().layout) == [TOPIC]


def test_a_compacted_topic_is_refused_until_it_is_right(broker: EmbeddedBroker) -> None:
    """Kafka would delete all dead letters of a key but the newest."""
    layout, clock = FakeTopicLayout(), ManualClock()
    configured = settings(broker)
    topic = dead_letter_topic(configured.dead_letter)
    watch = OwnTopicWatch(layout, topic, clock)  # type: ignore[arg-type]
    dead_letters = KafkaDeadLetterSink(configured, Metrics(), SystemClock(), watch)

    def look() -> str | None:
        for _ in range(3):
            clock.advance(1.2)
            dead_letters.poll()
        return dead_letters.unavailable_reason

    assert "cleanup.policy=compact; it must be `delete` alone" in str(look())
    layout.settings = {"cleanup.policy": "delete"}
    assert look() is None
    layout.id, layout.settings = "recreated", {"cleanup.policy": "compact,delete"}
    assert "dead_letter.topic" in str(look())
    dead_letters.close(0)
