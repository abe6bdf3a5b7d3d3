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


class World(Protocol):
    """A sink and its topic."""

    @property
    def sink(self) -> DeadLetterSink:
        """Return the sink."""
        ...

    def written(self, count: int) -> list[int]:
        """Return the offsets of the records in the topic, once there are so many."""
        ...

    def refuse(self) -> None:
        """Make the topic refuse everything."""
        ...

    def heal(self) -> None:
        """Make the topic writable again."""
        ...


class FakeWorld:
    """The fake, which has no topic."""

    def __init__(self) -> None:
        self.sink = FakeDeadLetterSink([], DeadLetterLimit(settings_with(SMALL).dead_letter))

    def written(self, count: int) -> list[int]:
        assert len(self.sink.written) >= count
        return self.sink.written

    def refuse(self) -> None:
        self.sink.unavailable_reason = "the topic is not writable"

    def heal(self) -> None:
        self.sink.unavailable_reason = None


class RealWorld:
    """The real sink and a topic of one partition."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        settings = settings_with({"kafka/bootstrap_servers": broker.bootstrap, **SMALL})
        self.sink = KafkaDeadLetterSink(settings, Metrics(), SystemClock())

    def written(self, count: int) -> list[int]:
        dead_letters = [read(found) for found in read_all(self._broker, TOPIC, count)]
        return [dead_letter.record.offset for dead_letter in dead_letters if dead_letter]

    def refuse(self) -> None:
        self._broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)

    def heal(self) -> None:
        self._broker.heal_requests(Api.PRODUCE)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with EmbeddedBroker({TOPIC: 1}) as broker:
        real = RealWorld(broker)
        yield real
        real.sink.close(0.1)


def dead_letters(*offsets: int) -> list[tuple[Record, Reject]]:
    reject = Reject(Stage.READ, Reason.BAD_SCORE, "The score is 101.")
    return [(Record("scores", 1, offset, 1, b"key", b"value"), reject) for offset in offsets]


def wait_done(sink: DeadLetterSink, *writes: Pending) -> None:
    def done() -> bool:
        sink.poll()
        return all(write.done for write in writes)

    until(
        done,
        seconds=9,
        every=0.005,
        what="the dead letters are written",
        tell=lambda: sink.unavailable_reason,
    )


def wait_unavailable(sink: DeadLetterSink) -> None:
    def unavailable() -> bool:
        sink.poll()
        return sink.unavailable_reason is not None

    until(unavailable, seconds=9, every=0.005, what="the sink is unavailable")


def test_an_empty_write_is_done_at_once(world: World) -> None:
    assert world.sink.send([]).done


def test_dead_letters_of_a_finished_write_are_in_the_topic_in_order(world: World) -> None:
    first, second = world.sink.send(dead_letters(1, 2, 3)), world.sink.send(dead_letters(4))

    wait_done(world.sink, first, second)

    assert world.written(4) == [1, 2, 3, 4]
    assert world.sink.unavailable_reason is None


def test_closing_writes_the_dead_letters(world: World) -> None:
    world.sink.send(dead_letters(1))
    assert world.sink.close(5)

    assert world.written(1) == [1]


def test_refused_dead_letters_are_written_when_the_topic_is_writable_again(world: World) -> None:
    world.refuse()
    writes = [world.sink.send(dead_letters(1, 2)), world.sink.send(dead_letters(3))]
    wait_unavailable(world.sink)
    writes.append(world.sink.send(dead_letters(4)))
    assert not any(write.done for write in writes)

    world.heal()
    wait_done(world.sink, *writes)

    assert set(world.written(4)) == {1, 2, 3, 4}
    assert world.sink.unavailable_reason is None


def test_a_finished_write_stays_finished(world: World) -> None:
    write = world.sink.send(dead_letters(1))
    wait_done(world.sink, write)

    world.refuse()
    world.sink.send(dead_letters(2))
    wait_unavailable(world.sink)

    assert write.done


def test_closing_reports_unwritten_dead_letters_and_is_over_in_time(world: World) -> None:
    world.refuse()
    write = world.sink.send(dead_letters(1))
    wait_unavailable(world.sink)

    deadline = Deadline(SystemClock(), 3)
    assert not world.sink.close(0.2)

    assert not deadline.over()
    assert not write.done


def test_closing_reports_that_everything_is_written(world: World) -> None:
    wait_done(world.sink, world.sink.send(dead_letters(1)))

    assert world.sink.close(5)


def test_its_limit_stops_the_processor(world: World) -> None:
    world.sink.limit.check(10, [4, 5])

    with pytest.raises(StopError, match="in a row"):
        world.sink.limit.check(3, [0, 1, 2])
