"""A fact as it is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Fact
from processor.state.format.fact import EARLIEST_MS, instant_of, name_of, pack, time_of, unpack

LATEST_MS = 253_402_300_799_999
facts = st.builds(
    Fact,
    time_ms=st.integers(EARLIEST_MS, LATEST_MS),
    id=st.one_of(st.text(max_size=40), st.text(min_size=30, max_size=34), st.just("x" * 300)),
    page=st.text(max_size=20),
    kinds=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(facts)
def test_what_is_kept_is_the_whole_fact(fact: Fact) -> None:
    kept = pack(fact)

    assert unpack(kept) == fact
    assert time_of(kept) == fact.time_ms


@given(facts, facts)
def test_kept_facts_have_one_name_only_where_time_and_id_agree(one: Fact, other: Fact) -> None:
    same = (one.time_ms, one.id) == (other.time_ms, other.id)

    assert (name_of(pack(one)) == name_of(pack(other))) is same
    assert name_of(pack(one)) == name_of(pack(Fact(one.time_ms, one.id, "another type")))


@given(facts, facts)
def test_names_and_instants_sort_by_time(one: Fact, other: Fact) -> None:
    if one.time_ms < other.time_ms:
        assert name_of(pack(one)) < name_of(pack(other))
        assert instant_of(pack(one)) < instant_of(pack(other))


def test_the_layout_holds_for_no_more_fields_than_fifteen() -> None:
    assert len(Fact.__struct_fields__) <= 15


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535])
def test_a_name_ends_where_the_id_does_however_long_it_is(length: int) -> None:
    with_page = pack(Fact(EARLIEST_MS, "i" * length, page="home"))
    name = name_of(with_page)

    assert name == name_of(pack(Fact(EARLIEST_MS, "i" * length)))
    assert name.endswith(b"i" * length)
    assert len(name) <= 9 + 3 + length
