from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.domain.event import ScoreEvent
from processor.observer import in_doubt_events
from tests.support.score_events import score_event


def at(offset: int, *, partition: int = 0, route: str = "upgrade") -> ScoreEvent:
    event = score_event("e", route=route, partition=partition)
    return replace(event, record=replace(event.record, offset=offset))


def test_unbroken_offsets_are_listed_as_one_range() -> None:
    listed = [(at(offset), "reset") for offset in (9, 3, 4, 5, 11)]
    listed += [(at(2, partition=1), "reset")]

    (group,) = in_doubt_events(listed)

    scores = "customer-ai-scores"
    assert group.ranges == f"{scores}/0/3-5,{scores}/0/9,{scores}/0/11,{scores}/1/2"
    assert group.events == 6


def test_routes_and_causes_are_listed_separately() -> None:
    listed = [(at(1), "reset"), (at(2), "timeout"), (at(1, route="churn"), "reset")]

    found = [(each.route, each.cause, each.events) for each in in_doubt_events(listed)]

    assert found == [("churn", "reset", 1), ("upgrade", "reset", 1), ("upgrade", "timeout", 1)]


def test_two_events_of_one_record_count_twice_at_one_offset() -> None:
    (group,) = in_doubt_events([(at(1), "reset"), (at(1), "reset"), (at(2), "reset")])

    assert (group.ranges, group.events) == ("customer-ai-scores/0/1-2", 3)


def test_nothing_in_doubt_yields_nothing() -> None:
    assert list(in_doubt_events([])) == []


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=200))
def test_every_record_is_in_the_lines_once_and_no_line_is_cut(
    positions: set[tuple[int, int]],
) -> None:
    groups = list(
        in_doubt_events([(at(offset, partition=number), "reset") for number, offset in positions])
    )

    found: list[tuple[int, int]] = []
    for run in (run for each in groups for run in each.ranges.split(",")):
        _, number, ends = run.split("/")
        first, _, last = ends.partition("-")
        found += [(int(number), offset) for offset in range(int(first), int(last or first) + 1)]
    assert sorted(found) == sorted(positions)
    assert sum(each.events for each in groups) == len(positions)
    assert all(len(each.ranges) <= 500 for each in groups)
