from collections.abc import Iterator

import pytest

from processor.domain.record import Partition
from processor.settings import JoinSettings
from processor.simulator.broker import EmbeddedBroker
from processor.telemetry.catalogue import SCORE_WAITS
from processor.telemetry.labels import WaitResult
from tests.support.kafka_io import EVENTS, SCORES, SourceReplica, produce


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({SCORES: 2, EVENTS: 2}) as running:
        yield running


def test_score_is_polled_after_the_events_that_were_there_before_it(broker: EmbeddedBroker) -> None:
    produce(broker, EVENTS, [b"event %d" % number for number in range(200)], partition=1)
    produce(broker, SCORES, [b"score"], partition=1)
    replica = SourceReplica(broker, join=JoinSettings(), poll_records=20)
    replica.start()

    replica.read(201)

    assert replica.values[-1] == b"score"
    assert not any(polled.timed_out for polled in replica.polls)
    assert replica.source.close(5)


def test_scores_of_other_partitions_do_not_wait(broker: EmbeddedBroker) -> None:
    replica = SourceReplica(broker, join=JoinSettings()).start()
    replica.turn_until(lambda: len(replica.source.assigned) == 4, "the assignment")
    replica.source.pause("restore", [Partition(EVENTS, 1)])
    produce(broker, EVENTS, [b"event"], partition=1)
    produce(broker, SCORES, [b"waits"], partition=1)
    produce(broker, SCORES, [b"goes"], partition=0)

    replica.turn_until(
        lambda: replica.source.waiting_records == 1 and replica.values, "the other score"
    )
    assert replica.values == [b"goes"]
    replica.source.resume("restore")
    replica.read(3)

    assert replica.values == [b"goes", b"event", b"waits"]
    assert replica.metrics.value(SCORE_WAITS, WaitResult.OK) == 1
    assert replica.source.close(5)


def test_wait_times_out_and_the_score_is_marked(broker: EmbeddedBroker) -> None:
    replica = SourceReplica(broker, join=JoinSettings(max_wait_seconds=0.3)).start()
    replica.turn_until(lambda: len(replica.source.assigned) == 4, "the assignment")
    replica.source.pause("restore", [Partition(EVENTS, 0)])
    produce(broker, EVENTS, [b"event"])
    produce(broker, SCORES, [b"score"])

    replica.read(1)

    assert replica.values == [b"score"]
    assert replica.polls[0].timed_out == frozenset({0})
    assert replica.metrics.value(SCORE_WAITS, WaitResult.TIMEOUT) == 1
    assert replica.source.close(5)


def test_scores_do_not_wait_where_partition_counts_differ() -> None:
    with EmbeddedBroker({SCORES: 2, EVENTS: 3}) as broker:
        replica = SourceReplica(broker, join=JoinSettings()).start()
        replica.turn_until(lambda: len(replica.source.assigned) == 5, "the assignment")
        replica.source.pause("restore", [Partition(EVENTS, 0)])
        produce(broker, EVENTS, [b"event"])
        produce(broker, SCORES, [b"score"])

        replica.read(1)

        assert replica.values == [b"score"]
        assert replica.metrics.value(SCORE_WAITS, WaitResult.NONE) == 1
        assert replica.source.close(5)


def test_score_is_not_partial_because_kafka_is_far_away(broker: EmbeddedBroker) -> None:
    replica = SourceReplica(broker, join=JoinSettings(max_wait_seconds=5)).start()
    replica.turn_until(lambda: len(replica.source.assigned) == 4, "the assignment")
    produce(broker, EVENTS, [b"event"])
    replica.read(1)
    broker.rtt(400)
    produce(broker, SCORES, [b"score"])

    replica.read(2)

    assert replica.polls[-1].timed_out == frozenset()
    assert replica.metrics.value(SCORE_WAITS, WaitResult.TIMEOUT) == 0
    broker.rtt(0)
    assert replica.source.close(5)


def test_beginning_is_found_also_where_kafka_is_far_away(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, [b"score"])
    broker.rtt(1_050)
    replica = SourceReplica(broker).start()

    replica.read(1, seconds=40)

    assert replica.values == [b"score"]
    broker.rtt(0)
    replica.source.close(5)
