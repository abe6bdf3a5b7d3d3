"""A fact as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Fact
from processor.state.format.fact import (
    EARLIEST_MS,
    decode_fact,
    encode_fact,
    sort_key_of,
    time_key_of,
    time_of,
    time_of_sort_key,
)

LATEST_MS = 253_402_300_799_999
facts = st.builds(
    Fact,
    time_ms=st.integers(EARLIEST_MS, LATEST_MS),
    id=st.one_of(st.text(max_size=40), st.text(min_size=30, max_size=34), st.just("x" * 300)),
    page=st.text(max_size=20),
    kinds=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(facts)
def test_an_encoded_fact_has_all_of_the_fact(fact: Fact) -> None:
    encoded = encode_fact(fact)

    assert decode_fact(encoded) == fact
    assert time_of(encoded) == time_of_sort_key(sort_key_of(encoded)) == fact.time_ms


@given(facts, facts)
def test_sort_keys_are_equal_only_where_time_and_id_are(one: Fact, other: Fact) -> None:
    same = (one.time_ms, one.id) == (other.time_ms, other.id)
    key = sort_key_of(encode_fact(one))

    assert (key == sort_key_of(encode_fact(other))) is same
    assert key == sort_key_of(encode_fact(Fact(one.time_ms, one.id, "another type")))


@given(facts, facts)
def test_sort_keys_and_time_keys_sort_by_time(one: Fact, other: Fact) -> None:
    if one.time_ms < other.time_ms:
        assert sort_key_of(encode_fact(one)) < sort_key_of(encode_fact(other))
        assert time_key_of(encode_fact(one)) < time_key_of(encode_fact(other))


def test_a_fact_has_no_more_fields_than_its_array_header_allows() -> None:
    assert len(Fact.__struct_fields__) <= 15


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535])
def test_a_sort_key_ends_where_the_id_ends(length: int) -> None:
    with_page = encode_fact(Fact(EARLIEST_MS, "i" * length, page="home"))
    key = sort_key_of(with_page)

    assert key == sort_key_of(encode_fact(Fact(EARLIEST_MS, "i" * length)))
    assert key.endswith(b"i" * length)
    assert len(key) <= 9 + 3 + length
