"""Whatever an inlet answers, no event is taken for accepted or refused that was not called so."""

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.sink.answer import read_items
from processor.sink.assess import assess
from processor.sink.reply import InletResponse
from processor.sink.verdict import Action
from tests.support.score_events import score_events

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_STATUS = st.sampled_from([200, 400, 401, 413, 429, 500, 503, "400", "503", "pass", None, True])
_ITEM = st.fixed_dictionaries(
    {},
    optional={"status": _STATUS, "statusCode": _STATUS, "message": _ANYTHING, "xactionId": _STATUS},
)


@given(body=st.binary(max_size=200) | _ANYTHING.map(lambda said: json.dumps(said).encode()))
def test_any_bytes_are_read_without_a_crash_and_mean_nothing(body: bytes) -> None:
    assert read_items(body, 3) is None


@given(items=st.lists(_ITEM | _ANYTHING, min_size=1, max_size=6), count=st.integers(1, 6))
def test_every_event_is_in_exactly_one_place_of_an_assessment(items: list[Any], count: int) -> None:
    body = json.dumps({"responses": items}).encode()

    found = assess(InletResponse(207, body), score_events(count))

    places = [*found.accepted, *(place for place, _ in found.refused)]
    places += [place for group in found.again.values() for place in group]
    assert sorted(places) == list(range(count))


@given(
    statuses=st.lists(st.sampled_from([None, 400, "400", 503, 429, 413]), min_size=1, max_size=8),
    key=st.sampled_from(["status", "statusCode"]),
    order=st.randoms(use_true_random=False),
)
def test_items_in_any_order_say_the_same_of_the_same_events(
    statuses: list[int | str | None], key: str, order: Random
) -> None:
    items: list[dict[str, Any]] = [
        {"xactionId": f"9341f8eb-{i}"} | ({} if status is None else {key: status})
        for i, status in enumerate(statuses)
    ]
    shuffled = order.sample(items, len(items))

    said = read_items(json.dumps({"responses": shuffled}).encode(), len(items))

    assert said is not None
    assert set(said) == {i for i, status in enumerate(statuses) if status is not None}
    for place, item in said.items():
        refused = str(statuses[place]) in ("400", "413")
        assert (item.verdict.action is Action.REFUSE) == refused
