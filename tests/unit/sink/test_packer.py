from hypothesis import given
from hypothesis import strategies as st

from processor.domain.record import Partition
from processor.sink.delivery import InletDelivery
from processor.sink.packer import InletRequest, RequestPacker
from tests.support.score_events import score_event, score_events


def _packer(room: int = 1_000, most: int = 1_000) -> RequestPacker:
    return RequestPacker(room=room, extra=10, most=most)


def test_a_parcel_closes_before_the_event_that_would_overfill_it() -> None:
    packer, events = _packer(room=330), score_events(4, size=100)

    parcels = list(packer.add(events, InletDelivery(events), 1.0))

    assert [len(parcel) for parcel in parcels] == [3]
    assert [len(parcel) for parcel in packer.close()] == [1]


def test_a_parcel_is_filled_across_deliveries_and_knows_whose_events_it_holds() -> None:
    packer, events = _packer(room=400), score_events(2, size=100)
    first, second = InletDelivery(events), InletDelivery(events)

    packed = [*packer.add(events, first, 1.0), *packer.add(events, second, 2.0)]
    (parcel,) = [*packed, *packer.close()][:1]

    assert parcel.owners == [first, first, second]


def test_an_event_larger_than_the_room_stands_alone() -> None:
    packer = _packer(room=300)
    events = [score_event("a"), score_event("big", size=500), score_event("b")]

    parcels = [*packer.add(events, InletDelivery(events), 1.0), *packer.close()]

    assert [[event.id for event in parcel.events] for parcel in parcels] == [["a"], ["big"], ["b"]]


def test_the_age_is_that_of_the_first_event_of_the_open_parcel() -> None:
    packer, events = _packer(room=250), score_events(2, size=100)

    list(packer.add(events, InletDelivery(events), 5.0))
    assert packer.opened == 5.0
    list(packer.add(events[:1], InletDelivery(events[:1]), 9.0))
    assert packer.opened == 9.0
    list(packer.close())

    assert packer.opened is None


@given(sizes=st.lists(st.integers(1, 600), max_size=60), most=st.integers(1, 9))
def test_nothing_is_lost_repeated_or_put_out_of_order(sizes: list[int], most: int) -> None:
    packer = _packer(room=1_000, most=most)
    events = [score_event(str(i), size=size) for i, size in enumerate(sizes)]

    parcels = [*packer.add(events, InletDelivery(events), 1.0), *packer.close()]

    assert [event for parcel in parcels for event in parcel.events] == events
    assert all(0 < len(parcel) <= most for parcel in parcels)
    assert all(
        len(parcel) == 1 or sum(len(event.body) + 10 for event in parcel.events) <= 1_000
        for parcel in parcels
    )


def test_a_parcel_is_cut_and_picked_with_its_owners_and_its_history() -> None:
    events = score_events(3)
    owners = [InletDelivery(events[:1]) for _ in events]
    parcel = InletRequest(events, owners, attempts=2, in_doubt=True)

    head, tail = parcel.cut(1)
    picked = parcel.pick([2, 0])

    assert (head.events, tail.events) == (events[:1], events[1:])
    assert (picked.events, picked.owners) == ([events[2], events[0]], [owners[2], owners[0]])
    assert all(part.attempts == 2 and part.in_doubt for part in (head, tail, picked))


def test_what_is_forgotten_is_released_and_the_rest_keeps_its_order() -> None:
    events = [score_event(str(i), partition=i % 2) for i in range(4)]
    fresh, stale = InletDelivery(events), InletDelivery(events)
    stale.forget({Partition("customer-ai-scores", 1)})
    parcel = InletRequest([*events, *events], [fresh] * 4 + [stale] * 4, attempts=2)

    sifted = parcel.sifted()

    assert [event.id for event in sifted.events] == ["0", "1", "2", "3", "0", "2"]
    assert [event.id for event in stale.released] == ["1", "3"]
    assert fresh.released == []
    assert sifted.attempts == 2


def test_an_open_parcel_that_is_forgotten_altogether_is_not_open_any_more() -> None:
    packer, events = _packer(room=330), score_events(3, size=100)
    delivery = InletDelivery(events)
    list(packer.add(events, delivery, 1.0))
    delivery.forget({Partition("customer-ai-scores", 0)})

    packer.sift()

    assert delivery.done
    assert packer.opened is None
    assert list(packer.close()) == []
    assert list(packer.add(events, InletDelivery(events), 2.0)) == []
