"""What all users of `KafkaProducer` promise: dead letters, changelog and repartition topic."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import pytest
from confluent_kafka import KafkaError
from prometheus_client import Counter
from structlog.testing import capture_logs

from processor.dead_letter.sink import KafkaDeadLetterSink
from processor.domain.clock import Clock, Deadline, SystemClock
from processor.domain.errors import InvariantError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.repartition.sink import KafkaRepartitionSink
from processor.settings import KafkaSettings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.state.changelog import ChangelogWriter
from processor.telemetry.catalogue import (
    CALLBACK_ERRORS,
    CHANGELOG_WRITES,
    DEAD_LETTER_WRITES,
    KAFKA_ERRORS,
    REPARTITION_WRITES,
)
from processor.telemetry.labels import AttemptResult, Callback
from processor.telemetry.metric_types import CounterMetric, Labels
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.kafka_io import read_all
from tests.support.settings import settings_with
from tests.support.waiting import until

TOPIC = "topic"
REJECT = Reject(Stage.READ, Reason.BAD_SCORE, "The score is 101.")


class Writer(Protocol):
    """A user of the producer, which writes values to one partition."""

    @property
    def writes(self) -> CounterMetric[AttemptResult]:
        """Return the metric that counts its messages."""
        ...

    @property
    def unavailable_reason(self) -> str | None:
        """Return why it cannot write now."""
        ...

    def write(self, values: Sequence[bytes]) -> Callable[[], bool]:
        """Start to write values; return what says whether that is done."""
        ...

    def poll(self) -> None:
        """Serve reports."""
        ...

    def close(self, seconds: float) -> None:
        """Close within so many seconds."""
        ...


class DeadLetters:
    """Dead letters with these values."""

    writes = DEAD_LETTER_WRITES

    def __init__(self, broker: EmbeddedBroker, metrics: Metrics, clock: Clock) -> None:
        settings = {"kafka/bootstrap_servers": broker.bootstrap, "dead_letter/topic": TOPIC}
        self._sink = KafkaDeadLetterSink(settings_with(settings), metrics, clock)
        self.poll = self._sink.poll

    @property
    def unavailable_reason(self) -> str | None:
        return self._sink.unavailable_reason

    def write(self, values: Sequence[bytes]) -> Callable[[], bool]:
        records = [Record("scores", 0, offset, 1, None, v) for offset, v in enumerate(values)]
        write = self._sink.send([(record, REJECT) for record in records])
        return lambda: write.done

    def close(self, seconds: float) -> None:
        self._sink.close(seconds)


class Changelog:
    """The changelog, with a person for each value."""

    writes = CHANGELOG_WRITES

    def __init__(self, broker: EmbeddedBroker, metrics: Metrics, clock: Clock) -> None:
        client = {"bootstrap.servers": broker.bootstrap}
        self._changelog = ChangelogWriter(client, TOPIC, metrics, clock)
        self.poll = self._changelog.poll
        self.close = self._changelog.close

    @property
    def unavailable_reason(self) -> str | None:
        return self._changelog.unavailable_reason

    def write(self, values: Sequence[bytes]) -> Callable[[], bool]:
        self._changelog.write({(0, b"person " + value): value for value in values})
        return lambda: not self._changelog.in_flight


class Repartition:
    """The repartition topic, with a key for each value."""

    writes = REPARTITION_WRITES

    def __init__(self, broker: EmbeddedBroker, metrics: Metrics, clock: Clock) -> None:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        self._sink = KafkaRepartitionSink(kafka, TOPIC, metrics, clock)
        self.poll = self._sink.poll

    @property
    def unavailable_reason(self) -> str | None:
        return self._sink.unavailable_reason

    def write(self, values: Sequence[bytes]) -> Callable[[], bool]:
        write = self._sink.send([(b"key", value) for value in values])
        return lambda: write.done

    def close(self, seconds: float) -> None:
        self._sink.close(seconds)


Make = Callable[..., Writer]


@pytest.fixture(params=[DeadLetters, Changelog, Repartition])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: 1}) as running:
        yield running


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def writer(make: Make, broker: EmbeddedBroker, metrics: Metrics) -> Iterator[Writer]:
    writer = make(broker, metrics, SystemClock())
    yield writer
    writer.close(0.1)


def poll_until(writer: Writer, done: Callable[[], object], what: str) -> None:
    def polled() -> bool:
        writer.poll()
        return bool(done())

    until(polled, seconds=15, every=0.002, what=what, tell=lambda: writer.unavailable_reason)


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def written(broker: EmbeddedBroker, count: int) -> list[bytes | None]:
    return [record.value for record in read_all(broker, TOPIC, count)]


FATAL = [
    (Api.PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER),
    (Api.INIT_PRODUCER_ID, KafkaError.CLUSTER_AUTHORIZATION_FAILED),
]
"""Requests, and errors with which an idempotent producer of librdkafka ends."""


@pytest.mark.parametrize(("api", "code"), FATAL, ids=["produce", "producer id"])
def test_after_a_fatal_error_a_new_producer_writes_everything_in_order(
    make: Make, broker: EmbeddedBroker, metrics: Metrics, api: Api, code: int
) -> None:
    broker.fail_requests(api, code)
    writer = make(broker, metrics, SystemClock())

    with capture_logs() as logs:
        poll_until(writer, writer.write(values(20)), "the messages are written")

    assert written(broker, 20) == values(20)
    assert writer.unavailable_reason is None
    assert [line.get("code") for line in logs].count("kafka_producer_replaced") == 1
    assert metrics.value(writer.writes, AttemptResult.OK) == 20
    assert metrics.value(KAFKA_ERRORS, KafkaError(code).name(), "true") == 1
    writer.close(1)


def test_a_producer_that_fails_for_good_again_is_replaced_again(
    writer: Writer, broker: EmbeddedBroker, metrics: Metrics
) -> None:
    poll_until(writer, writer.write([b"before"]), "the first message is written")
    broker.fail_requests(Api.PRODUCE, *[KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 3)
    done = writer.write(values(3))

    poll_until(writer, lambda: writer.unavailable_reason, "it is unavailable")
    assert not done()
    poll_until(writer, done, "the messages are written")

    assert written(broker, 4) == [b"before", *values(3)]
    assert metrics.value(writer.writes, AttemptResult.FAILED) >= 3
    assert metrics.value(writer.writes, AttemptResult.OK) == 4


def test_a_producer_that_failed_for_good_can_be_closed_in_time(
    writer: Writer, broker: EmbeddedBroker
) -> None:
    broker.fail_requests(Api.PRODUCE, *[KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 100)
    done = writer.write(values(3))
    poll_until(writer, lambda: writer.unavailable_reason, "it is unavailable")

    deadline = Deadline(SystemClock(), 3)
    writer.close(0.2)

    assert not deadline.over()
    assert not done()


def test_a_refused_message_is_written_later(
    writer: Writer, broker: EmbeddedBroker, metrics: Metrics
) -> None:
    broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 2)
    done = writer.write(values(3))
    poll_until(writer, lambda: writer.unavailable_reason, "it is unavailable")
    assert not done()
    assert str(writer.unavailable_reason).startswith(f"{TOPIC} cannot be written: ")

    poll_until(writer, done, "the messages are written")

    assert written(broker, 3) == values(3)
    assert writer.unavailable_reason is None
    assert metrics.value(writer.writes, AttemptResult.FAILED) >= 3
    assert metrics.value(writer.writes, AttemptResult.OK) == 3


def test_brokers_that_do_not_answer_make_it_unavailable(
    make: Make, broker: EmbeddedBroker, metrics: Metrics
) -> None:
    clock = ManualClock()
    writer = make(broker, metrics, clock)
    broker.broker_down()
    done = writer.write(values(1))
    reasons = [writer.unavailable_reason]

    clock.advance(11)
    reasons.append(writer.unavailable_reason)
    broker.broker_up()
    poll_until(writer, done, "the message is written")
    reasons.append(writer.unavailable_reason)

    assert reasons == [None, f"{TOPIC} cannot be written: no acknowledgement", None]
    writer.close(0)


def test_closing_without_brokers_is_over_in_time(writer: Writer, broker: EmbeddedBroker) -> None:
    broker.broker_down()
    done = writer.write(values(3))

    deadline = Deadline(SystemClock(), 3)
    writer.close(0.3)

    assert not deadline.over()
    assert not done()


class BrokenMetrics(Metrics):
    """Metrics that cannot count errors of Kafka."""

    def counter(self, metric: CounterMetric[*Labels], *labels: *Labels) -> Counter:
        if metric is KAFKA_ERRORS:
            raise RuntimeError("It cannot be counted.")
        return super().counter(metric, *labels)


def test_an_exception_in_a_callback_is_raised_by_poll(make: Make, broker: EmbeddedBroker) -> None:
    metrics = BrokenMetrics()
    writer = make(broker, metrics, SystemClock())
    broker.broker_down()
    writer.write(values(1))

    with pytest.raises(InvariantError, match="callback") as raised:
        poll_until(writer, lambda: False, "the exception is raised")

    assert isinstance(raised.value.__cause__, RuntimeError)
    assert metrics.value(CALLBACK_ERRORS, Callback.ERROR) >= 1
    writer.close(0)
