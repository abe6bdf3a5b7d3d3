from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError

from processor.dead_letter.dead_letter import read
from processor.dead_letter.reader import DeadLetterReader, Selection
from processor.dead_letter.sink import KafkaDeadLetterSink
from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import UnavailableError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.settings import Settings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.metrics import Metrics
from tests.support.kafka_io import produce, read_all
from tests.support.settings import settings_with
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


def poll_until(dead_letters: KafkaDeadLetterSink, look: Callable[[], object], what: str) -> None:
    def polled() -> bool:
        dead_letters.poll()
        return bool(look())

    until(polled, seconds=9, what=what, every=0.01)


def test_a_letter_is_done_when_kafka_has_it_and_comes_back_whole(broker: EmbeddedBroker) -> None:
    metrics = Metrics()
    dead_letters = KafkaDeadLetterSink(settings(broker), metrics, SystemClock())
    buried = [record(1), record(2, None), record(3, b"")]

    sending = dead_letters.send([(each, REJECT) for each in buried])
    assert not sending.done
    poll_until(dead_letters, lambda: sending.done, "the acknowledgement")

    written = [read(found) for found in read_all(broker, TOPIC, 3)]
    assert [each.record for each in written if each] == buried
    assert metrics.value("dead_letters", "read", "bad_score") == 3
    assert dead_letters.unavailable_reason is None
    assert dead_letters.close(5)


def test_nothing_to_send_is_done_at_once(broker: EmbeddedBroker) -> None:
    assert KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock()).send([]).done


def test_a_topic_that_can_not_be_written_is_held_for_and_nothing_is_dropped(
    broker: EmbeddedBroker,
) -> None:
    metrics = Metrics()
    dead_letters = KafkaDeadLetterSink(settings(broker), metrics, SystemClock())
    broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 3)

    sending = dead_letters.send([(record(1), REJECT)])
    poll_until(dead_letters, lambda: dead_letters.unavailable_reason, "the hold")
    assert "cannot be written" in (dead_letters.unavailable_reason or "")
    assert not sending.done
    broker.heal_requests(Api.PRODUCE)
    poll_until(dead_letters, lambda: sending.done, "the recovery")

    assert dead_letters.unavailable_reason is None
    assert metrics.value("dead_letter_writes", "failed") >= 1
    assert len(read_all(broker, TOPIC, 1)) == 1
    assert dead_letters.close(5)


def test_dead_brokers_hold_letters_until_they_are_back(broker: EmbeddedBroker) -> None:
    dead_letters = KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock())
    first = dead_letters.send([(record(1), REJECT)])
    poll_until(dead_letters, lambda: first.done, "the first letter")
    broker.broker_down()

    second = dead_letters.send([(record(2), REJECT)])
    poll_until(dead_letters, lambda: dead_letters.unavailable_reason, "the hold")
    broker.broker_up()
    poll_until(dead_letters, lambda: second.done, "the second letter")

    assert dead_letters.close(5)


def test_closing_keeps_its_deadline_when_every_broker_is_dead(broker: EmbeddedBroker) -> None:
    dead_letters = KafkaDeadLetterSink(settings(broker), Metrics(), SystemClock())
    broker.broker_down()
    dead_letters.send([(record(1), REJECT)])

    deadline = Deadline(SystemClock(), 1.5)
    assert not dead_letters.close(0.5)

    assert not deadline.over()


def test_a_look_through_the_topic_finds_letters_and_strangers(broker: EmbeddedBroker) -> None:
    where = settings(broker)
    dead_letters = KafkaDeadLetterSink(where, Metrics(), SystemClock())
    other = Reject(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, "No route takes it.")
    sending = dead_letters.send([(record(1), REJECT), (record(2), other), (record(3), REJECT)])
    poll_until(dead_letters, lambda: sending.done, "the letters")
    produce(broker, TOPIC, [b"not a letter"])
    reader = DeadLetterReader(where, SystemClock())
    steps: list[tuple[int, int]] = []

    everything = list(reader.scan(lambda seen, total: steps.append((seen, total))))
    chosen = list(reader.select(Selection(reasons=frozenset({Reason.UNKNOWN_PREDICTION}))))

    assert len(everything) == 4
    assert sum(found.dead_letter is None for found in everything) == 1
    assert steps[-1] == (4, 4)
    assert [found.dead_letter.record.offset for found in chosen if found.dead_letter] == [2]
    assert reader.one(chosen[0].partition, chosen[0].offset) == chosen[0]
    assert reader.one(0, 999) is None
    assert dead_letters.close(5)


def test_an_empty_topic_has_no_letters(broker: EmbeddedBroker) -> None:
    assert list(DeadLetterReader(settings(broker), SystemClock()).scan()) == []


def test_a_look_at_a_topic_that_is_not_there_says_so(broker: EmbeddedBroker) -> None:
    broker.fail_topic(TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)

    with pytest.raises(UnavailableError, match=TOPIC):
        list(DeadLetterReader(settings(broker), SystemClock()).scan())
