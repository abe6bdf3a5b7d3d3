from processor.domain.record import Partition, Record
from processor.kafka.offset_tracker import TrackedRange
from processor.source.waiting import PartitionRecords, WaitingScores
from processor.telemetry.labels import WaitResult

SCORES = Partition("scores", 3)
OTHER = Partition("scores", 4)
EVENTS = Partition("events", 3)


def polled(partition: Partition = SCORES, first: int = 0, count: int = 1) -> PartitionRecords:
    tracked = TrackedRange(partition, 1, first, first, first + count, count, 0)
    return PartitionRecords(
        tracked, [Record(*partition, first + each, 0, None, b"") for each in range(count)]
    )


def test_score_waits_until_the_events_are_read() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled()], now=0)
    assert scores.take_ready({}, now=0) == []
    assert scores.without_ends() == {3}
    scores.set_ends({3: {EVENTS: 7}})

    assert scores.take_ready({EVENTS: 6}, now=1) == []
    ready = scores.take_ready({EVENTS: 7}, now=2)

    assert ready == [(polled(), WaitResult.OK, 2)]
    assert scores.count == 0


def test_score_whose_events_are_already_read_is_ready_at_once() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled()], now=0)
    scores.set_ends({3: {EVENTS: 7}})

    assert [result for _, result, _ in scores.take_ready({EVENTS: 9}, now=0)] == [WaitResult.NONE]


def test_score_without_event_partitions_is_ready_at_once() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled()], now=0)
    scores.set_ends({3: {}})

    assert [result for _, result, _ in scores.take_ready({}, now=0)] == [WaitResult.NONE]


def test_wait_times_out_where_kafka_never_answers() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled()], now=0)

    assert scores.take_ready({}, now=9.9) == []
    assert [result for _, result, _ in scores.take_ready({}, now=10)] == [WaitResult.TIMEOUT]


def test_time_while_paused_does_not_count() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled()], now=0)

    scores.extend(600)

    assert scores.take_ready({}, now=609) == []
    assert [result for _, result, _ in scores.take_ready({}, now=610)] == [WaitResult.TIMEOUT]


def test_order_within_a_partition_is_preserved() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(first=0)], now=0)
    scores.set_ends({3: {EVENTS: 9}})
    scores.add([polled(first=1)], now=1)
    scores.set_ends({3: {EVENTS: 5}})

    assert scores.take_ready({EVENTS: 5}, now=2) == []
    assert [ready.polled.tracked.first for ready in scores.take_ready({EVENTS: 9}, now=3)] == [0, 1]


def test_end_offsets_of_earlier_scores_are_not_used_for_later_ones() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(first=0)], now=0)
    scores.set_ends({3: {EVENTS: 5}})
    scores.add([polled(first=1)], now=1)

    assert scores.without_ends() == {3}
    assert len(scores.take_ready({EVENTS: 5}, now=1)) == 1


def test_partition_with_too_many_waiting_scores_is_full() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(SCORES, count=50)], now=0)

    assert scores.full([SCORES, OTHER]) == {SCORES}


def test_all_partitions_are_full_when_the_total_is_too_high() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(SCORES, count=100)], now=0)

    assert scores.full([SCORES, OTHER]) == {SCORES, OTHER}


def test_scores_of_revoked_partitions_are_dropped() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(), polled(OTHER)], now=0)

    scores.forget([SCORES])

    assert scores.count == 1
    assert scores.without_ends() == {4}


def test_end_offsets_are_only_needed_once_earlier_events_are_repartitioned() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(first=0)], now=1)
    scores.add([polled(OTHER)], now=3)
    assert scores.without_ends(until=0) == set()
    assert scores.without_ends(until=2) == {3}

    scores.set_ends({3: {}, 4: {}}, until=2)

    assert [one.polled.tracked.partition for one in scores.take_ready({}, now=4)] == [SCORES]
    assert scores.without_ends() == {4}


def test_scores_of_a_held_partition_wait_on_and_that_time_does_not_count() -> None:
    scores = WaitingScores(max_wait=10, limit=100)
    scores.add([polled(), polled(OTHER)], now=0)
    scores.set_ends({3: {}, 4: {}})

    scores.extend(600, {SCORES})

    held = scores.take_ready({}, now=600, held={SCORES})
    assert [(one.polled.tracked.partition, one.seconds) for one in held] == [(OTHER, 600)]
    assert [one.seconds for one in scores.take_ready({}, now=601)] == [1]
