from hypothesis import given
from hypothesis import strategies as st

from processor.domain.record import Partition
from processor.sink.packing import InletDelivery, InletRequest, RequestPacker
from tests.support.score_events import score_event, score_events


def _packer(max_bytes: int = 1_000, max_events: int = 1_000) -> RequestPacker:
    return RequestPacker(max_bytes=max_bytes, event_overhead=10, max_events=max_events)


def test_a_request_closes_before_the_event_that_does_not_fit() -> None:
    packer, events = _packer(max_bytes=330), score_events(4, size=100)

    requests = list(packer.add(events, InletDelivery(events), 1.0))

    assert [len(request) for request in requests] == [3]
    assert [len(request) for request in packer.flush()] == [1]


def test_a_request_is_filled_across_deliveries_and_knows_the_delivery_of_each_event() -> None:
    packer, events = _packer(max_bytes=400), score_events(2, size=100)
    first, second = InletDelivery(events), InletDelivery(events)

    packed = [*packer.add(events, first, 1.0), *packer.add(events, second, 2.0)]
    (request,) = [*packed, *packer.flush()][:1]

    assert request.deliveries == [first, first, second]


def test_an_event_larger_than_the_maximum_is_alone_in_a_request() -> None:
    packer = _packer(max_bytes=300)
    events = [score_event("a"), score_event("big", size=500), score_event("b")]

    requests = [*packer.add(events, InletDelivery(events), 1.0), *packer.flush()]

    assert [[event.id for event in request.events] for request in requests] == [
        ["a"],
        ["big"],
        ["b"],
    ]


def test_the_open_request_is_as_old_as_its_first_event() -> None:
    packer, events = _packer(max_bytes=250), score_events(2, size=100)

    list(packer.add(events, InletDelivery(events), 5.0))
    assert packer.opened_at == 5.0
    list(packer.add(events[:1], InletDelivery(events[:1]), 9.0))
    assert packer.opened_at == 9.0
    list(packer.flush())

    assert packer.opened_at is None


@given(sizes=st.lists(st.integers(1, 600), max_size=60), max_events=st.integers(1, 9))
def test_no_event_is_lost_repeated_or_reordered(sizes: list[int], max_events: int) -> None:
    packer = _packer(max_bytes=1_000, max_events=max_events)
    events = [score_event(str(i), size=size) for i, size in enumerate(sizes)]

    requests = [*packer.add(events, InletDelivery(events), 1.0), *packer.flush()]

    assert [event for request in requests for event in request.events] == events
    assert all(0 < len(request) <= max_events for request in requests)
    assert all(
        len(request) == 1 or sum(len(event.body) + 10 for event in request.events) <= 1_000
        for request in requests
    )


def test_a_request_is_cut_and_picked_with_its_deliveries_and_its_history() -> None:
    events = score_events(3)
    deliveries = [InletDelivery(events[:1]) for _ in events]
    request = InletRequest(events, deliveries, failures=2, in_doubt=True)

    head, tail = request.cut(1)
    picked = request.pick([2, 0])

    assert (head.events, tail.events) == (events[:1], events[1:])
    assert (picked.events, picked.deliveries) == (
        [events[2], events[0]],
        [deliveries[2], deliveries[0]],
    )
    assert all(part.failures == 2 and part.in_doubt for part in (head, tail, picked))


def test_revoked_events_are_released_and_the_others_keep_their_order() -> None:
    events = [score_event(str(i), partition=i % 2) for i in range(4)]
    fresh, stale = InletDelivery(events), InletDelivery(events)
    stale.revoke({Partition("customer-ai-scores", 1)})
    request = InletRequest([*events, *events], [fresh] * 4 + [stale] * 4, failures=2)

    remaining = request.without_revoked()

    assert [event.id for event in remaining.events] == ["0", "1", "2", "3", "0", "2"]
    assert [event.id for event in stale.released] == ["1", "3"]
    assert fresh.released == []
    assert remaining.failures == 2


def test_an_open_request_of_only_revoked_events_is_no_longer_open() -> None:
    packer, events = _packer(max_bytes=330), score_events(3, size=100)
    delivery = InletDelivery(events)
    list(packer.add(events, delivery, 1.0))
    delivery.revoke({Partition("customer-ai-scores", 0)})

    packer.release_revoked()

    assert delivery.done
    assert packer.opened_at is None
    assert list(packer.flush()) == []
    assert list(packer.add(events, InletDelivery(events), 2.0)) == []
