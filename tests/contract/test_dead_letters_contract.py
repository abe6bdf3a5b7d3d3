"""What a `DeadLetterSink` promises: the fake, and the real one on a broker."""

from collections.abc import Iterator
from typing import Protocol

import pytest
from confluent_kafka import KafkaError

from processor.components import DeadLetterSink, Pending
from processor.dead_letter.dead_letter import read
from processor.dead_letter.sink import DeadLetterLimit, KafkaDeadLetterSink
from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import StopError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.metrics import Metrics
from tests.support.fakes import FakeDeadLetterSink
from tests.support.kafka_io import read_all
from tests.support.settings import settings_with
from tests.support.waiting import until

TOPIC = "customer-ai-dead-letters"
SMALL = {"dead_letter/delivery_timeout_seconds": 10, "dead_letter/stop_after_consecutive": 3}


class Cemetery(Protocol):
    """The door, and the topic behind it."""

    @property
    def door(self) -> DeadLetterSink:
        """Return the door."""
        ...

    def written(self, count: int) -> list[int]:
        """Return the offsets of the records whose letters are in the topic, once so many are."""
        ...

    def refuse(self) -> None:
        """Let the topic take nothing."""
        ...

    def heal(self) -> None:
        """Let it take letters again."""
        ...


class FakeCemetery:
    """The fake, which knows no topic."""

    def __init__(self) -> None:
        self.door = FakeDeadLetterSink([], DeadLetterLimit(settings_with(SMALL).dead_letter))

    def written(self, count: int) -> list[int]:
        assert len(self.door.written) >= count
        return self.door.written

    def refuse(self) -> None:
        self.door.unavailable_reason = "the topic is not writable"

    def heal(self) -> None:
        self.door.unavailable_reason = None


class RealCemetery:
    """The real door and a topic of one partition."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        settings = settings_with({"kafka/bootstrap_servers": broker.bootstrap, **SMALL})
        self.door = KafkaDeadLetterSink(settings, Metrics(), SystemClock())

    def written(self, count: int) -> list[int]:
        dead_letters = [read(found) for found in read_all(self._broker, TOPIC, count)]
        return [dead_letter.record.offset for dead_letter in dead_letters if dead_letter]

    def refuse(self) -> None:
        self._broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)

    def heal(self) -> None:
        self._broker.heal_requests(Api.PRODUCE)


@pytest.fixture(params=["fake", "real"])
def cemetery(request: pytest.FixtureRequest) -> Iterator[Cemetery]:
    if request.param == "fake":
        yield FakeCemetery()
        return
    with EmbeddedBroker({TOPIC: 1}) as broker:
        real = RealCemetery(broker)
        yield real
        real.door.close(0.1)


def dead_letters(*offsets: int) -> list[tuple[Record, Reject]]:
    reject = Reject(Stage.READ, Reason.BAD_SCORE, "The score is 101.")
    return [(Record("scores", 1, offset, 1, b"key", b"value"), reject) for offset in offsets]


def finished(door: DeadLetterSink, *sendings: Pending) -> None:
    def done() -> bool:
        door.poll()
        return all(sending.done for sending in sendings)

    until(
        done,
        seconds=9,
        every=0.005,
        what="the letters are written",
        tell=lambda: door.unavailable_reason,
    )


def held(door: DeadLetterSink) -> None:
    def unavailable_reason() -> bool:
        door.poll()
        return door.unavailable_reason is not None

    until(unavailable_reason, seconds=9, every=0.005, what="the door holds")


def test_nothing_to_write_is_done_at_once(cemetery: Cemetery) -> None:
    assert cemetery.door.send([]).done


def test_letters_that_are_done_are_in_the_topic_in_order(cemetery: Cemetery) -> None:
    first, second = cemetery.door.send(dead_letters(1, 2, 3)), cemetery.door.send(dead_letters(4))

    finished(cemetery.door, first, second)

    assert cemetery.written(4) == [1, 2, 3, 4]
    assert cemetery.door.unavailable_reason is None


def test_letters_are_written_though_nobody_asks(cemetery: Cemetery) -> None:
    cemetery.door.send(dead_letters(1))
    assert cemetery.door.close(5)

    assert cemetery.written(1) == [1]


def test_a_topic_that_refuses_is_held_for_and_no_letter_is_lost(cemetery: Cemetery) -> None:
    cemetery.refuse()
    sendings = [cemetery.door.send(dead_letters(1, 2)), cemetery.door.send(dead_letters(3))]
    held(cemetery.door)
    sendings.append(cemetery.door.send(dead_letters(4)))
    assert not any(sending.done for sending in sendings)

    cemetery.heal()
    finished(cemetery.door, *sendings)

    assert set(cemetery.written(4)) == {1, 2, 3, 4}
    assert cemetery.door.unavailable_reason is None


def test_what_is_done_stays_so(cemetery: Cemetery) -> None:
    sending = cemetery.door.send(dead_letters(1))
    finished(cemetery.door, sending)

    cemetery.refuse()
    cemetery.door.send(dead_letters(2))
    held(cemetery.door)

    assert sending.done


def test_closing_says_that_letters_are_left_and_is_over_in_time(cemetery: Cemetery) -> None:
    cemetery.refuse()
    sending = cemetery.door.send(dead_letters(1))
    held(cemetery.door)

    deadline = Deadline(SystemClock(), 3)
    assert not cemetery.door.close(0.2)

    assert not deadline.over()
    assert not sending.done


def test_closing_with_nothing_left_says_so(cemetery: Cemetery) -> None:
    finished(cemetery.door, cemetery.door.send(dead_letters(1)))

    assert cemetery.door.close(5)


def test_its_guard_stops_the_house_before_a_topic_is_buried(cemetery: Cemetery) -> None:
    cemetery.door.limit.check(10, [4, 5])

    with pytest.raises(StopError, match="in a row"):
        cemetery.door.limit.check(3, [0, 1, 2])
