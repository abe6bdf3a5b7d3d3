"""For any answer of an inlet, only events it names so count as accepted or refused."""

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.sink.response import assess, read_items
from processor.sink.transport import InletResponse
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


@given(body=st.binary(max_size=200) | _ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_without_an_error_as_unknown(body: bytes) -> None:
    assert read_items(body, 3) is None


@given(items=st.lists(_ITEM | _ANYTHING, min_size=1, max_size=6), count=st.integers(1, 6))
def test_every_event_is_exactly_once_in_an_assessment(items: list[Any], count: int) -> None:
    body = json.dumps({"responses": items}).encode()

    found = assess(InletResponse(207, body), score_events(count))

    indexes = [*found.accepted, *(index for index, _ in found.refused)]
    indexes += [index for group in found.retry.values() for index in group]
    assert sorted(indexes) == list(range(count))


@given(
    statuses=st.lists(st.sampled_from([None, 400, "400", 503, 429, 413]), min_size=1, max_size=8),
    key=st.sampled_from(["status", "statusCode"]),
    order=st.randoms(use_true_random=False),
)
def test_items_in_any_order_give_each_event_the_same_status(
    statuses: list[int | str | None], key: str, order: Random
) -> None:
    items: list[dict[str, Any]] = [
        {"xactionId": f"9341f8eb-{i}"} | ({} if status is None else {key: status})
        for i, status in enumerate(statuses)
    ]
    shuffled = order.sample(items, len(items))

    read = read_items(json.dumps({"responses": shuffled}).encode(), len(items))

    assert read is not None
    assert set(read) == {i for i, status in enumerate(statuses) if status is not None}
    for index, item in read.items():
        refused = str(statuses[index]) in ("400", "413")
        assert (item.verdict.action is Action.REFUSE) == refused
