"""The contract of a source, for the fake and for `KafkaSource` on a broker."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from confluent_kafka import KafkaError

from processor.components import Poll, Source
from processor.domain.clock import Deadline, SystemClock
from processor.domain.record import Partition, Record
from processor.simulator.broker import Api, EmbeddedBroker
from processor.source.source import KafkaSource
from tests.support.fakes import FakeSource
from tests.support.kafka_io import EVENTS, SCORES, RecordingListener, SourceReplica, produce
from tests.support.waiting import until

P0, P1 = Partition(SCORES, 0), Partition(SCORES, 1)


class Group(Protocol):
    """A consumer group and the topic it reads, one member at a time."""

    def feed(self, partition: int, *values: bytes) -> None:
        """Write records."""
        ...

    def member(self, listener: RecordingListener) -> Source:
        """Return a member that has joined; the member before it is closed."""
        ...

    def lose(self, member: Source, listener: RecordingListener) -> None:
        """Take all partitions from the member without a revoke, and give them back."""
        ...

    def cut(self) -> None:
        """Let no broker answer any more."""
        ...


class FakeGroup:
    """Fakes, one the next member after the other."""

    def __init__(self) -> None:
        self._next = FakeSource([])
        self._next.group = frozenset({P0, P1})
        self._ends = [0, 0]

    def feed(self, partition: int, *values: bytes) -> None:
        first = self._ends[partition]
        self._ends[partition] += len(values)
        numbered = enumerate(values, first)
        self._next.add(
            [Record(SCORES, partition, offset, 1, b"key", each) for offset, each in numbered]
        )

    def member(self, listener: RecordingListener) -> FakeSource:
        member = self._next if not self._next.steps else self._next.next_member()
        self._next = member
        member.start(listener)
        return member

    def lose(self, member: Source, listener: RecordingListener) -> None:
        assert isinstance(member, FakeSource)
        member.lose(listener)

    def cut(self) -> None:
        self._next.confirms = False


class RealGroup:
    """Members of a group on an embedded broker."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._before = set(threading.enumerate())
        self._broker = broker
        self._members: list[KafkaSource] = []

    def feed(self, partition: int, *values: bytes) -> None:
        produce(self._broker, SCORES, values, partition=partition)

    def member(self, listener: RecordingListener) -> Source:
        member = SourceReplica(self._broker).source
        member.start(listener)
        self._members.append(member)
        return member

    def lose(self, member: Source, listener: RecordingListener) -> None:
        self._broker.fail_requests(Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.UNKNOWN_MEMBER_ID)
        polled_until(member, lambda _: any(name == "revoked" for name, _ in listener.calls))

    def cut(self) -> None:
        self._broker.broker_down()

    def end(self) -> None:
        """Let every member leave, also one that lost its broker while it closed."""
        self._broker.broker_up()
        for member in self._members:
            member.close(5)
        until(self._all_have_left, seconds=9, what="every member has left")

    def _all_have_left(self) -> bool:
        ours = set(threading.enumerate()) - self._before
        return not any(thread.name == "kafka-close" for thread in ours)


@pytest.fixture(params=["fake", "real"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    if request.param == "fake":
        yield FakeGroup()
        return
    with EmbeddedBroker({SCORES: 2, EVENTS: 2}) as broker:
        real = RealGroup(broker)
        yield real
        real.end()


def polled_until(member: Source, done: Callable[[list[Poll]], object]) -> list[Poll]:
    """Poll until `done`; returns the polls that had records."""
    polls: list[Poll] = []

    def seen() -> bool:
        if (polled := member.poll(0.02)).records:
            polls.append(polled)
        return bool(done(polls))

    until(seen, seconds=9, every=0.001, what="the polls", tell=lambda: values_of(polls))
    return polls


def polled_records(member: Source, count: int) -> list[Poll]:
    """Poll until so many records came."""
    return polled_until(member, lambda polls: len(values_of(polls)) >= count)


def values_of(polls: list[Poll]) -> list[bytes | None]:
    return [record.value for polled in polls for record in polled.records]


def nothing_is_polled(member: Source) -> bool:
    return not any(member.poll(0.05).records for _ in range(5))


def test_records_are_polled_in_kafkas_order_per_partition(group: Group) -> None:
    group.feed(0, b"a0", b"a1", b"a2")
    group.feed(1, b"b0", b"b1")
    group.feed(0, b"a3")

    polls = polled_records(group.member(RecordingListener()), 6)

    offsets = defaultdict(list)
    for polled in polls:
        for record in polled.records:
            offsets[record.partition].append((record.offset, record.value))
    assert offsets[0] == [(0, b"a0"), (1, b"a1"), (2, b"a2"), (3, b"a3")]
    assert offsets[1] == [(0, b"b0"), (1, b"b1")]
    assert all(polled.timed_out == frozenset() for polled in polls)


def test_partitions_are_assigned_inside_a_poll_and_before_their_records(group: Group) -> None:
    group.feed(0, b"a0")
    listener = RecordingListener()
    member = group.member(listener)
    assert listener.calls == []
    assert (member.assigned, member.is_member) == (frozenset(), False)

    polled_records(member, 1)

    ((name, partitions),) = listener.calls
    assert name == "assigned"
    assert {P0, P1} <= set(partitions) == set(member.assigned)
    assert member.is_member


def test_nothing_is_polled_while_paused_for_any_cause_and_all_of_it_afterwards(
    group: Group,
) -> None:
    member = group.member(RecordingListener())
    member.pause("destination")
    polled_until(member, lambda _: member.assigned)
    group.feed(0, b"a0", b"a1")
    member.pause("state")
    assert nothing_is_polled(member)

    member.resume("destination")
    assert nothing_is_polled(member)
    assert {P0, P1} <= set(member.assigned)

    member.resume("state")
    assert values_of(polled_records(member, 2)) == [b"a0", b"a1"]


def test_empty_poll_returns_in_time(group: Group) -> None:
    member = group.member(RecordingListener())
    polled_until(member, lambda _: member.assigned)

    deadline = Deadline(SystemClock(), 2)
    assert not member.poll(0.05).records

    assert not deadline.over()
    assert (member.waiting_records, member.commit_overdue_reason) == (0, None)


def test_settled_and_committed_records_are_not_read_again(group: Group) -> None:
    group.feed(0, b"a0", b"a1")
    group.feed(1, b"b0")
    first = group.member(RecordingListener())
    for polled in polled_records(first, 3):
        assert first.settle(polled) == frozenset()
    first.commit()
    assert first.close(5)

    group.feed(0, b"a2")

    assert values_of(polled_records(group.member(RecordingListener()), 1)) == [b"a2"]


def test_closing_commits_settled_records(group: Group) -> None:
    group.feed(0, b"a0")
    first = group.member(RecordingListener())
    for polled in polled_records(first, 1):
        first.settle(polled)

    assert first.close(5)

    group.feed(0, b"a1")
    assert values_of(polled_records(group.member(RecordingListener()), 1)) == [b"a1"]


def test_unsettled_records_are_read_again(group: Group) -> None:
    group.feed(0, b"a0", b"a1")
    first = group.member(RecordingListener())
    polled_records(first, 2)
    first.commit()
    assert first.close(5)

    assert values_of(polled_records(group.member(RecordingListener()), 2)) == [b"a0", b"a1"]


def test_leaving_commits_nothing_and_is_done_once(group: Group) -> None:
    group.feed(0, b"a0", b"a1")
    first = group.member(RecordingListener())
    for polled in polled_records(first, 2):
        first.settle(polled)

    first.leave(5)
    first.leave(5)

    assert first.assigned == frozenset()
    assert values_of(polled_records(group.member(RecordingListener()), 2)) == [b"a0", b"a1"]


def test_a_paused_partition_keeps_its_records_and_the_others_are_polled(group: Group) -> None:
    member = group.member(RecordingListener())
    polled_until(member, lambda _: member.assigned)
    member.pause("restoring", [P0])
    group.feed(0, b"a0")
    group.feed(1, b"b0")

    assert values_of(polled_records(member, 1)) == [b"b0"]
    assert nothing_is_polled(member)
    member.resume("restoring", [P0])

    assert values_of(polled_records(member, 1)) == [b"a0"]


def test_nothing_behind_an_unsettled_poll_is_committed(group: Group) -> None:
    group.feed(0, b"a0")
    first = group.member(RecordingListener())
    polled_records(first, 1)
    group.feed(0, b"a1")
    for polled in polled_records(first, 1):
        first.settle(polled)
    first.commit()
    assert first.close(5)

    assert values_of(polled_records(group.member(RecordingListener()), 2)) == [b"a0", b"a1"]


def test_records_of_lost_partitions_cannot_be_settled_and_are_read_again(group: Group) -> None:
    group.feed(0, b"a0", b"a1")
    listener = RecordingListener()
    member = group.member(listener)
    late = polled_records(member, 2)
    group.lose(member, listener)

    assert {partition for polled in late for partition in member.settle(polled)} == {P0}
    member.commit()

    assert values_of(polled_records(member, 2)) == [b"a0", b"a1"]
    assert [name for name, _ in listener.calls] == ["assigned", "revoked", "assigned"]


def test_poll_without_a_partition_has_the_records_of_the_others(group: Group) -> None:
    group.feed(0, b"a0")
    group.feed(1, b"b0")
    member = group.member(RecordingListener())
    polls = polled_records(member, 2)

    rest = [polled.without({P0}) for polled in polls]

    assert values_of(rest) == [b"b0"]
    assert not any(member.settle(polled) for polled in rest)


def test_closing_reports_an_unconfirmed_commit_and_returns_in_time(group: Group) -> None:
    group.feed(0, b"a0")
    member = group.member(RecordingListener())
    for polled in polled_records(member, 1):
        member.settle(polled)
    group.cut()

    deadline = Deadline(SystemClock(), 3)
    assert not member.close(1)

    assert not deadline.over()
