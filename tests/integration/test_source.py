from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import StopError
from processor.domain.record import Partition
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import JoinSettings
from processor.simulator.broker import Api, EmbeddedBroker
from tests.support.kafka_io import (
    EVENTS,
    SCORES,
    Replica,
    committed,
    produce,
    produce_where,
    read_all,
)
from tests.support.waiting import until

GROUP = "customer-ai-scores"
P0 = Partition(SCORES, 0)
_QUICK: dict[str, dict[str, int]] = {"classic": {"heartbeat.interval.ms": 100}, "consumer": {}}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({SCORES: 2, EVENTS: 2}) as running:
        yield running


def numbered(first: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, end)]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("join", [None, JoinSettings()])
def test_a_restart_goes_on_after_what_was_settled(
    broker: EmbeddedBroker, protocol: str, join: JoinSettings | None
) -> None:
    produce(broker, SCORES, numbered(0, 10))
    first = Replica(broker, group_protocol=protocol, join=join).start()
    first.read(10)
    assert first.source.close(5)

    produce(broker, SCORES, numbered(10, 15))
    second = Replica(broker, group_protocol=protocol, join=join).start()
    second.read(5)
    assert second.source.close(5)

    assert first.values == numbered(0, 10)
    assert second.values == numbered(10, 15)


def test_what_is_not_settled_is_not_committed(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 5))
    replica = Replica(broker).start()
    replica.settling = False
    replica.read(5)
    produce(broker, SCORES, numbered(5, 9))
    replica.read(9)

    replica.source.settle(replica.polls[-1])
    assert replica.source.close(5)

    assert committed(broker, GROUP, P0) == [0]
    assert replica.metrics.value("records_released", SCORES, "shutdown") == 5


def test_records_are_whole(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, [b"value"], key=None, headers=(("a", None), ("a", b"\xff"), ("", b"")))
    replica = Replica(broker).start()

    replica.read(1)

    record = replica.polls[0].records[0]
    assert (record.key, record.value) == (None, b"value")
    assert record.headers == (("a", None), ("a", b"\xff"), ("", b""))
    assert record.timestamp_ms > 0
    assert replica.source.close(5)


@pytest.mark.parametrize(
    ("join", "protocol"),
    [
        (None, "consumer"),
        (None, "classic"),
        (JoinSettings(), "consumer"),
        (JoinSettings(), "classic"),
    ],
)
def test_two_members_share_and_nothing_is_lost_or_repeated(
    broker: EmbeddedBroker, join: JoinSettings | None, protocol: str
) -> None:
    for number in (0, 1):
        produce(broker, SCORES, numbered(number * 100, number * 100 + 10), partition=number)
    first = Replica(broker, join=join, group_protocol=protocol, client=_QUICK[protocol]).start()
    first.read(20)
    second = Replica(broker, join=join, group_protocol=protocol, client=_QUICK[protocol]).start()

    def shared() -> bool:
        first.turn()
        second.turn()
        return len(first.source.assigned) == len(second.source.assigned) == 2

    until(shared, seconds=20, what="two partitions each", every=0.001)
    for number in (0, 1):
        produce(broker, SCORES, numbered(number * 100 + 10, number * 100 + 20), partition=number)
    until(
        lambda: (first.turn(), second.turn(), len(first.values + second.values) >= 40)[-1],
        seconds=8,
        what="the rest",
        every=0.001,
    )

    assert sorted(first.values + second.values, key=lambda value: int(value or b"")) == [
        *numbered(0, 20),
        *numbered(100, 120),
    ]
    if join is not None:
        assert len({partition.number for partition in first.source.assigned}) == 1
    assert first.source.close(5)
    assert second.source.close(5)


def test_a_leaving_partition_is_drained_and_its_prefix_committed(broker: EmbeddedBroker) -> None:
    for number in (0, 1):
        produce(broker, SCORES, numbered(0, 5), partition=number)
    first = Replica(broker).start()
    first.settling = False
    first.read(10)
    first.follower.on_drain = lambda: [first.source.settle(polled) for polled in first.polls]
    second = Replica(broker).start()

    def drained() -> bool:
        first.turn()
        second.turn()
        return any(word == "revoked" for word, _ in first.follower.told)

    until(drained, seconds=9, what="a revoke", every=0.001)

    gone = next(parts for word, parts in first.follower.told if word == "revoked")
    score_parts = [each for each in gone if each.topic == SCORES]
    assert committed(broker, GROUP, *score_parts) == [5] * len(score_parts)
    assert first.metrics.value("records_released", SCORES, "revoked") == 0
    assert second.source.close(5)
    assert first.source.close(5)
    assert second.values == []


def test_a_fresh_group_may_begin_at_the_end_and_remembers_where(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 5))
    first = Replica(broker, start="latest").start()
    first.turn_until(lambda: committed(broker, GROUP, P0) == [5], "the end, committed")
    assert first.source.close(5)

    produce(broker, SCORES, numbered(5, 8))
    second = Replica(broker, start="latest").start()
    second.read(3)

    assert second.values == numbered(5, 8)
    assert second.source.close(5)


def lose_records(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 4))
    first = Replica(broker).start()
    first.read(4)
    assert first.source.close(5)
    for number in range(4, 12):
        produce(broker, SCORES, numbered(number, number + 1))
    broker.delete_records(SCORES, 0, 9)


def test_records_deleted_before_they_were_read_stop_the_house(broker: EmbeddedBroker) -> None:
    lose_records(broker)
    replica = Replica(broker).start()

    with pytest.raises(StopError, match=r"customer-ai-scores/0.*on_gap"):
        replica.read(1)

    assert replica.metrics.value("retention_overrun_records", SCORES) == 5
    assert replica.source.close(5)
    assert committed(broker, GROUP, P0) == [4]


def test_records_deleted_before_they_were_read_are_counted_and_passed_by(
    broker: EmbeddedBroker,
) -> None:
    lose_records(broker)
    replica = Replica(broker, on_gap="continue").start()

    replica.read(3)

    assert replica.values == numbered(9, 12)
    assert replica.metrics.value("retention_overrun_records", SCORES) == 5
    assert replica.metrics.value("offset_gap_records", SCORES) == 0
    assert replica.source.close(5)
    assert committed(broker, GROUP, P0) == [12]


def test_a_held_source_polls_nothing_and_stays_a_member(broker: EmbeddedBroker) -> None:
    replica = Replica(broker).start()
    replica.source.pause("destination")
    replica.turn_until(lambda: replica.source.assigned, "an assignment")
    produce(broker, SCORES, numbered(0, 5))
    replica.source.pause("state")
    replica.source.resume("destination")
    for _ in range(5):
        assert not replica.turn().records

    replica.source.resume("state")
    replica.read(5)

    assert replica.values == numbered(0, 5)
    assert replica.source.close(5)


def test_a_raising_follower_is_heard_and_loses_nothing(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 50))
    replica = Replica(broker).start()

    def fail() -> None:
        raise ZeroDivisionError

    replica.follower.on_assigned = fail
    with pytest.raises(ZeroDivisionError):
        replica.read(1)
    replica.read(50)

    assert replica.values == numbered(0, 50)
    assert replica.metrics.value("callback_errors", "assign") == 1
    assert replica.metrics.value("offset_gap_records", SCORES) == 0
    assert replica.source.close(5)


def test_a_failed_commit_is_tried_again(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = Replica(broker).start()
    replica.turn_until(lambda: replica.source.assigned, "an assignment")
    broker.fail_requests(Api.OFFSET_COMMIT, *[KafkaError.INVALID_COMMIT_OFFSET_SIZE] * 2)

    replica.turn_until(lambda: committed(broker, GROUP, P0) == [3], "the commit")

    assert replica.metrics.value("commits", "failed") >= 1
    assert replica.source.commit_overdue is None
    assert replica.source.close(5)


def test_commits_that_never_succeed_are_said_to_be_overdue(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = Replica(broker, commit_age_limit_seconds=0.5).start()
    replica.turn_until(lambda: replica.source.assigned, "an assignment")
    broker.fail_requests(Api.OFFSET_COMMIT, *[KafkaError.INVALID_COMMIT_OFFSET_SIZE] * 1000)

    replica.turn_until(lambda: replica.source.commit_overdue, "the guard")
    broker.heal_requests(Api.OFFSET_COMMIT)
    replica.turn_until(lambda: replica.source.commit_overdue is None, "the all-clear")

    assert replica.source.close(5)


def test_closing_keeps_its_deadline_when_every_broker_is_dead(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = Replica(broker).start()
    replica.settling = False
    replica.read(3)
    replica.source.settle(replica.polls[0])
    broker.broker_down()

    deadline = Deadline(SystemClock(), 2.5)
    assert not replica.source.close(2)

    assert not deadline.over()


def test_brokers_that_go_and_come_back_lose_nothing(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = Replica(broker).start()
    replica.read(3)
    broker.broker_down()
    for _ in range(10):
        replica.turn()
    broker.broker_up()
    produce(broker, SCORES, numbered(3, 6))

    replica.read(6)

    assert replica.values == numbered(0, 6)
    assert replica.source.close(5)


def test_lag_and_watermark_are_shown_and_taken_back(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = Replica(broker).start()
    replica.source.pause("destination")
    labels = (SCORES, "0")

    replica.turn_until(
        lambda: replica.metrics.value("paused_partitions", "destination") == 4, "the gauges"
    )

    assert replica.metrics.value("assigned_partitions", SCORES) == 2
    assert replica.source.close(5)
    exposed = {
        sample.labels.get("partition")
        for family in replica.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "cai_lag_records"
    }
    assert labels[1] not in exposed


def test_lost_partitions_are_let_go_without_a_commit_and_read_again(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 5))
    replica = Replica(broker).start()
    replica.settling = False
    replica.read(5)
    late = replica.polls[0]

    broker.fail_requests(Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.UNKNOWN_MEMBER_ID)
    replica.turn_until(lambda: replica.metrics.value("rebalances", "lost"), "the loss")
    stale = replica.source.settle(late)
    replica.source.commit(force=True)
    replica.read(10)

    assert stale == {P0}
    assert replica.values == numbered(0, 5) * 2
    assert replica.metrics.value("records_released", SCORES, "lost") == 5
    assert committed(broker, GROUP, P0) == [0]
    assert replica.source.close(5)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("murmur2_random", "murmur2"), ("consistent_random", "crc32")]
)
def test_keys_are_where_producers_put_them_and_where_others_would_not(
    broker: EmbeddedBroker, theirs: str, ours: str
) -> None:
    keys = [b"", *(b"%d" % number * (number % 7 + 1) for number in range(200))]
    produce_where(broker, SCORES, keys, partitioner=theirs)

    records = [record for record in read_all(broker, SCORES, len(keys)) if record.key]

    assert len({record.partition for record in records}) == 2
    assert all(PARTITIONERS[ours](record.key or b"", 2) == record.partition for record in records)


@pytest.mark.parametrize(("partitioner", "found"), [("murmur2", 0), ("crc32", 1), ("any", 0)])
def test_a_record_on_another_partition_than_its_keys_is_counted(
    broker: EmbeddedBroker, partitioner: str, found: int
) -> None:
    key = next(
        key
        for key in numbered(0, 99)
        if PARTITIONERS["murmur2"](key, 2) != PARTITIONERS["crc32"](key, 2)
    )
    produce_where(broker, SCORES, [key], partitioner="murmur2_random")
    replica = Replica(broker, partitioner=partitioner).start()

    replica.read(1)

    assert replica.metrics.value("misplaced_records", SCORES) == found
    assert replica.source.close(5)
