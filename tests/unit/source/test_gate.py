from processor.domain.record import Partition, Record
from processor.kafka.offset_tracker import TrackedRange
from processor.source.waiting import PartitionRecords, WaitingScores, WaitResult

SCORES = Partition("scores", 3)
OTHER = Partition("scores", 4)
EVENTS = Partition("events", 3)


def share(partition: Partition = SCORES, first: int = 0, count: int = 1) -> PartitionRecords:
    claim = TrackedRange(partition, 1, first, first, first + count, count, 0)
    return PartitionRecords(
        claim, [Record(*partition, first + each, 0, None, b"") for each in range(count)]
    )


def test_a_score_waits_until_the_events_are_read() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share()], now=0)
    assert gate.leave({}, now=0) == []
    assert gate.unasked() == {3}
    gate.answer({3: {EVENTS: 7}})

    assert gate.leave({EVENTS: 6}, now=1) == []
    passed = gate.leave({EVENTS: 7}, now=2)

    assert passed == [(share(), WaitResult.OK, 2)]
    assert gate.kept == 0


def test_a_score_whose_events_are_read_already_goes_at_once() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share()], now=0)
    gate.answer({3: {EVENTS: 7}})

    assert [result for _, result, _ in gate.leave({EVENTS: 9}, now=0)] == [WaitResult.NONE]


def test_a_score_with_no_events_beside_it_goes_at_once() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share()], now=0)
    gate.answer({3: {}})

    assert [result for _, result, _ in gate.leave({}, now=0)] == [WaitResult.NONE]


def test_waiting_ends_even_where_kafka_never_answered() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share()], now=0)

    assert gate.leave({}, now=9.9) == []
    assert [result for _, result, _ in gate.leave({}, now=10)] == [WaitResult.TIMEOUT]


def test_time_while_the_house_holds_is_not_counted() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share()], now=0)

    gate.postpone(600)

    assert gate.leave({}, now=609) == []
    assert [result for _, result, _ in gate.leave({}, now=610)] == [WaitResult.TIMEOUT]


def test_order_within_a_partition_is_kept() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(first=0)], now=0)
    gate.answer({3: {EVENTS: 9}})
    gate.enter([share(first=1)], now=1)
    gate.answer({3: {EVENTS: 5}})

    assert gate.leave({EVENTS: 5}, now=2) == []
    assert [passed.share.claim.first for passed in gate.leave({EVENTS: 9}, now=3)] == [0, 1]


def test_what_was_asked_for_an_earlier_share_is_not_taken_for_a_later_one() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(first=0)], now=0)
    gate.answer({3: {EVENTS: 5}})
    gate.enter([share(first=1)], now=1)

    assert gate.unasked() == {3}
    assert len(gate.leave({EVENTS: 5}, now=1)) == 1


def test_a_partition_that_keeps_too_much_back_must_rest() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(SCORES, count=50)], now=0)

    assert gate.full([SCORES, OTHER]) == {SCORES}


def test_all_must_rest_when_the_sum_is_too_much() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(SCORES, count=100)], now=0)

    assert gate.full([SCORES, OTHER]) == {SCORES, OTHER}


def test_what_is_ours_no_more_is_forgotten() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(), share(OTHER)], now=0)

    gate.forget([SCORES])

    assert gate.kept == 1
    assert gate.unasked() == {4}


def test_a_share_is_not_asked_for_before_what_is_upstream_of_it_has_come_by() -> None:
    gate = WaitingScores(max_wait=10, limit=100)
    gate.enter([share(first=0)], now=1)
    gate.enter([share(OTHER)], now=3)
    assert gate.unasked(until=0) == set()
    assert gate.unasked(until=2) == {3}

    gate.answer({3: {}, 4: {}}, until=2)

    assert [one.share.claim.partition for one in gate.leave({}, now=4)] == [SCORES]
    assert gate.unasked() == {4}
