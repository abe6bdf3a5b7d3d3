from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from processor.domain.clock import Deadline, SystemClock
from processor.domain.control import InMemoryControlStore
from processor.domain.errors import Gap, StopError
from processor.domain.record import Partition
from processor.kafka.messages import ErrorKind, KafkaFault, PollError
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import JoinSettings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.catalogue import (
    ASSIGNED_PARTITIONS,
    CALLBACK_ERRORS,
    COMMITS,
    MISPLACED_RECORDS,
    OFFSET_GAP_RECORDS,
    PAUSED_PARTITIONS,
    REBALANCES,
    RECORDS_RELEASED,
    RETENTION_OVERRUN_RECORDS,
)
from processor.telemetry.labels import AttemptResult, Callback, RebalanceKind, ReleaseCause
from tests.support.kafka_io import (
    EVENTS,
    SCORES,
    SourceReplica,
    committed,
    produce,
    produce_where,
    read_all,
)
from tests.support.waiting import until

GROUP = "customer-ai-scores"
P0 = Partition(SCORES, 0)
_FAST_HEARTBEAT: dict[str, dict[str, int]] = {
    "classic": {"heartbeat.interval.ms": 100},
    "consumer": {},
}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({SCORES: 2, EVENTS: 2}) as running:
        yield running


def numbered(first: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, end)]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("join", [None, JoinSettings()])
def test_restart_continues_after_the_settled_records(
    broker: EmbeddedBroker, protocol: str, join: JoinSettings | None
) -> None:
    produce(broker, SCORES, numbered(0, 10))
    first = SourceReplica(broker, group_protocol=protocol, join=join).start()
    first.read(10)
    assert first.source.close(5)

    produce(broker, SCORES, numbered(10, 15))
    second = SourceReplica(broker, group_protocol=protocol, join=join).start()
    second.read(5)
    assert second.source.close(5)

    assert first.values == numbered(0, 10)
    assert second.values == numbered(10, 15)


def test_unsettled_records_are_not_committed(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 5))
    replica = SourceReplica(broker).start()
    replica.settling = False
    replica.read(5)
    produce(broker, SCORES, numbered(5, 9))
    replica.read(9)

    replica.source.settle(replica.polls[-1])
    assert replica.source.close(5)

    assert committed(broker, GROUP, P0) == [0]
    assert replica.metrics.value(RECORDS_RELEASED, SCORES, ReleaseCause.SHUTDOWN) == 5


def test_records_are_complete(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, [b"value"], key=None, headers=(("a", None), ("a", b"\xff"), ("", b"")))
    replica = SourceReplica(broker).start()

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
def test_two_members_share_partitions_and_nothing_is_lost_or_repeated(
    broker: EmbeddedBroker, join: JoinSettings | None, protocol: str
) -> None:
    for number in (0, 1):
        produce(broker, SCORES, numbered(number * 100, number * 100 + 10), partition=number)
    first = SourceReplica(
        broker, join=join, group_protocol=protocol, client=_FAST_HEARTBEAT[protocol]
    ).start()
    first.read(20)
    second = SourceReplica(
        broker, join=join, group_protocol=protocol, client=_FAST_HEARTBEAT[protocol]
    ).start()

    def shared() -> bool:
        first.turn()
        second.turn()
        return len(first.source.assigned) == len(second.source.assigned) == 2

    until(shared, seconds=60, what="two partitions each", every=0.001)
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


def test_revoked_partition_is_drained_and_its_prefix_committed(broker: EmbeddedBroker) -> None:
    for number in (0, 1):
        produce(broker, SCORES, numbered(0, 5), partition=number)
    first = SourceReplica(broker).start()
    first.settling = False
    first.read(10)
    first.listener.on_drain = lambda: [first.source.settle(polled) for polled in first.polls]
    second = SourceReplica(broker).start()

    def drained() -> bool:
        first.turn()
        second.turn()
        return any(name == "revoked" for name, _ in first.listener.calls)

    until(drained, seconds=9, what="a revoke", every=0.001)

    revoked = next(parts for name, parts in first.listener.calls if name == "revoked")
    score_parts = [each for each in revoked if each.topic == SCORES]
    assert committed(broker, GROUP, *score_parts) == [5] * len(score_parts)
    assert first.metrics.value(RECORDS_RELEASED, SCORES, ReleaseCause.REVOKED) == 0
    assert second.source.close(5)
    assert first.source.close(5)
    assert second.values == []


def test_new_group_may_begin_at_the_end_and_commits_where(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 5))
    first = SourceReplica(broker, start="latest").start()
    first.turn_until(lambda: committed(broker, GROUP, P0) == [5], "the end, committed")
    assert first.source.close(5)

    produce(broker, SCORES, numbered(5, 8))
    second = SourceReplica(broker, start="latest").start()
    second.read(3)

    assert second.values == numbered(5, 8)
    assert second.source.close(5)


def test_partition_without_a_commit_is_read_from_where_the_group_began(
    broker: EmbeddedBroker,
) -> None:
    control = InMemoryControlStore()
    produce(broker, SCORES, numbered(0, 5))
    first = SourceReplica(broker, start="latest", control=control).start()

    def begun() -> bool:
        first.source.poll(0.05)
        return control.get("group") is not None

    until(begun, seconds=8, what="the beginning")
    first.source.leave(5)
    first.is_closed = True
    assert committed(broker, GROUP, P0) == [-1001]

    produce(broker, SCORES, numbered(5, 8))
    second = SourceReplica(broker, start="latest", control=control).start()
    second.read(3)

    assert second.values == numbered(5, 8)
    assert second.source.close(5)


def delete_unread_records(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 4))
    first = SourceReplica(broker).start()
    first.read(4)
    assert first.source.close(5)
    for number in range(4, 12):
        produce(broker, SCORES, numbered(number, number + 1))
    broker.delete_records(SCORES, 0, 9)


def test_records_deleted_before_they_were_read_are_named_once_and_read_on_when_accepted(
    broker: EmbeddedBroker,
) -> None:
    delete_unread_records(broker)
    produce(broker, SCORES, [b"other"], partition=1)
    replica = SourceReplica(broker).start()

    with pytest.raises(StopError, match=r"customer-ai-scores/0.*on_gap") as raised:
        replica.read(2)
    replica.turn_until(lambda: b"other" in replica.values, "the other partition goes on")
    assert raised.value.gaps == {P0: Gap("below_start", "", 4, 9)}
    assert replica.metrics.value(RETENTION_OVERRUN_RECORDS, SCORES) == 5
    assert committed(broker, GROUP, P0) == [4]
    assert replica.source.committed_offset(P0) is None

    replica.source.accept_gaps([P0])
    replica.read(4)
    assert replica.values == [b"other", *numbered(9, 12)]
    assert replica.metrics.value(RETENTION_OVERRUN_RECORDS, SCORES) == 5
    assert replica.source.close(5)
    assert committed(broker, GROUP, P0) == [12]


def test_a_late_error_of_a_partition_that_waits_already_is_not_a_second_loss(
    broker: EmbeddedBroker,
) -> None:
    delete_unread_records(broker)
    produce(broker, SCORES, [b"other"], partition=1)
    replica = SourceReplica(broker).start()
    with pytest.raises(StopError):
        replica.read(2)

    late = PollError(KafkaFault(ErrorKind.NO_VALID_OFFSET, "", "out of range"), P0, 4)
    replica.source._on_poll_error(late)  # noqa: SLF001  as a broker answers twice
    replica.turn_until(lambda: b"other" in replica.values, "the other partition goes on")
    replica.source.accept_gaps([P0])
    replica.read(4)

    assert replica.metrics.value(RETENTION_OVERRUN_RECORDS, SCORES) == 5
    assert replica.values == [b"other", *numbered(9, 12)]


def test_records_deleted_before_they_were_read_are_counted_and_skipped(
    broker: EmbeddedBroker,
) -> None:
    delete_unread_records(broker)
    replica = SourceReplica(broker, on_gap="continue").start()

    replica.read(3)

    assert replica.values == numbered(9, 12)
    assert replica.metrics.value(RETENTION_OVERRUN_RECORDS, SCORES) == 5
    assert replica.metrics.value(OFFSET_GAP_RECORDS, SCORES) == 0
    assert replica.source.close(5)
    assert committed(broker, GROUP, P0) == [12]


def test_paused_source_polls_nothing_and_stays_a_member(broker: EmbeddedBroker) -> None:
    replica = SourceReplica(broker).start()
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


def test_exception_of_a_listener_is_raised_and_no_record_is_lost(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 50))
    replica = SourceReplica(broker).start()

    def fail() -> None:
        raise ZeroDivisionError

    replica.listener.on_assigned = fail
    with pytest.raises(ZeroDivisionError):
        replica.read(1)
    replica.read(50)

    assert replica.values == numbered(0, 50)
    assert replica.metrics.value(CALLBACK_ERRORS, Callback.ASSIGN) == 1
    assert replica.metrics.value(OFFSET_GAP_RECORDS, SCORES) == 0
    assert replica.source.close(5)


def test_failed_commit_is_retried(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = SourceReplica(broker).start()
    replica.turn_until(lambda: replica.source.assigned, "an assignment")
    broker.fail_requests(Api.OFFSET_COMMIT, *[KafkaError.INVALID_COMMIT_OFFSET_SIZE] * 2)

    replica.turn_until(lambda: committed(broker, GROUP, P0) == [3], "the commit")

    assert replica.metrics.value(COMMITS, AttemptResult.FAILED) >= 1
    assert replica.source.commit_overdue_reason is None
    assert replica.source.close(5)


def test_commits_that_never_succeed_are_overdue(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = SourceReplica(broker, commit_age_limit_seconds=0.5).start()
    replica.turn_until(lambda: replica.source.assigned, "an assignment")
    broker.fail_requests(Api.OFFSET_COMMIT, *[KafkaError.INVALID_COMMIT_OFFSET_SIZE] * 1000)

    replica.turn_until(lambda: replica.source.commit_overdue_reason, "the overdue commit")
    broker.heal_requests(Api.OFFSET_COMMIT)
    replica.turn_until(lambda: replica.source.commit_overdue_reason is None, "the confirmed commit")

    assert replica.source.close(5)


def test_closing_returns_in_time_when_every_broker_is_down(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = SourceReplica(broker).start()
    replica.settling = False
    replica.read(3)
    replica.source.settle(replica.polls[0])
    broker.broker_down()

    deadline = Deadline(SystemClock(), 2.5)
    assert not replica.source.close(2)

    assert not deadline.over()


def test_no_record_is_lost_when_brokers_restart(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = SourceReplica(broker).start()
    replica.read(3)
    broker.broker_down()
    for _ in range(10):
        replica.turn()
    broker.broker_up()
    produce(broker, SCORES, numbered(3, 6))

    replica.read(6)

    assert replica.values == numbered(0, 6)
    assert replica.source.close(5)


def test_partition_gauges_are_set_and_removed(broker: EmbeddedBroker) -> None:
    produce(broker, SCORES, numbered(0, 3))
    replica = SourceReplica(broker).start()
    replica.source.pause("destination")
    labels = (SCORES, "0")

    replica.turn_until(
        lambda: replica.metrics.value(PAUSED_PARTITIONS, "destination") == 4, "the gauges"
    )

    assert replica.metrics.value(ASSIGNED_PARTITIONS, SCORES) == 2
    assert replica.source.close(5)
    exposed = {
        sample.labels.get("partition")
        for family in replica.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "cai_lag_records"
    }
    assert labels[1] not in exposed


def test_lost_partitions_are_released_without_a_commit_and_read_again(
    broker: EmbeddedBroker,
) -> None:
    produce(broker, SCORES, numbered(0, 5))
    replica = SourceReplica(broker).start()
    replica.settling = False
    replica.read(5)
    late = replica.polls[0]

    broker.fail_requests(Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.UNKNOWN_MEMBER_ID)
    replica.turn_until(lambda: replica.metrics.value(REBALANCES, RebalanceKind.LOST), "the loss")
    stale = replica.source.settle(late)
    replica.source.commit(force=True)
    replica.read(10)

    assert stale == {P0}
    assert replica.values == numbered(0, 5) * 2
    assert replica.metrics.value(RECORDS_RELEASED, SCORES, ReleaseCause.LOST) == 5
    assert committed(broker, GROUP, P0) == [0]
    assert replica.source.close(5)


@pytest.mark.parametrize(
    ("producers", "partitioner"), [("murmur2_random", "murmur2"), ("consistent_random", "crc32")]
)
def test_keys_are_on_the_partition_of_the_producers_partitioner(
    broker: EmbeddedBroker, producers: str, partitioner: str
) -> None:
    keys = [b"", *(b"%d" % number * (number % 7 + 1) for number in range(200))]
    produce_where(broker, SCORES, keys, partitioner=producers)

    records = [record for record in read_all(broker, SCORES, len(keys)) if record.key]

    assert len({record.partition for record in records}) == 2
    assert all(
        PARTITIONERS[partitioner](record.key or b"", 2) == record.partition for record in records
    )


@pytest.mark.parametrize(("partitioner", "found"), [("murmur2", 0), ("crc32", 1), ("any", 0)])
def test_record_on_another_partition_than_its_keys_is_counted(
    broker: EmbeddedBroker, partitioner: str, found: int
) -> None:
    key = next(
        key
        for key in numbered(0, 99)
        if PARTITIONERS["murmur2"](key, 2) != PARTITIONERS["crc32"](key, 2)
    )
    produce_where(broker, SCORES, [key], partitioner="murmur2_random")
    replica = SourceReplica(broker, partitioner=partitioner).start()

    replica.read(1)

    assert replica.metrics.value(MISPLACED_RECORDS, SCORES) == found
    assert replica.source.close(5)
