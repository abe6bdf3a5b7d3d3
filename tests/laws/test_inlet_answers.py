"""For any answer of an inlet, only events it names so count as accepted or refused.

And for any sequence of answers, an event is at fault only where the inlet worked for others.
"""

import json
from random import Random
from typing import Any, NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from processor.domain.outcome import Cause
from processor.http.transport import HttpResponse
from processor.sink.response import assess, read_items
from processor.sink.suspect import Evidence, Failure, Suspect, UndeliverableRule
from processor.sink.verdict import Action
from tests.support.score_events import score_event, score_events

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

    found = assess(HttpResponse(207, body), score_events(count))

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


class _Attempt(NamedTuple):
    """What happened before a failed attempt: seconds, and what became of other events."""

    seconds: float
    accepted: int
    waiting: int
    window_full: bool


_RULE = UndeliverableRule(attempts=4, seconds=60.0, others=200)
_FIRST = Failure(0.0, 0, 1_000)
_ATTEMPTS = st.lists(
    st.builds(
        _Attempt,
        seconds=st.floats(0.01, 60.0),
        accepted=st.sampled_from([0, 0, 1, 50, 199, 200, 5_000]),
        waiting=st.sampled_from([0, 0, 1, 2, 100]),
        window_full=st.booleans(),
    ),
    max_size=40,
)


class _Trial:
    """The attempts of one event, one after the other."""

    def __init__(self) -> None:
        self.suspect = Suspect(score_event("e0"), _FIRST, _RULE)
        self.now = 0.0
        self.accepted = _FIRST.accepted

    def fail(self, attempt: _Attempt) -> bool:
        self.now += attempt.seconds
        self.accepted += attempt.accepted
        evidence = Evidence(self.now, self.accepted, attempt.waiting + 1, attempt.window_full)
        self.suspect.failed(Cause.SERVER, evidence)
        return self.suspect.at_fault


@given(attempts=_ATTEMPTS)
def test_an_event_is_at_fault_only_after_so_many_attempts_so_long_beside_so_many_others(
    attempts: list[_Attempt],
) -> None:
    trial = _Trial()
    for count, attempt in enumerate(attempts, 1):
        if trial.fail(attempt):
            others = trial.accepted - _FIRST.accepted
            assert count >= _RULE.attempts
            assert trial.now - attempts[0].seconds >= _RULE.seconds * 0.999
            assert others >= _RULE.others or (attempt.window_full and others >= _RULE.attempts - 1)


@given(before=_ATTEMPTS, outage=_ATTEMPTS)
def test_no_event_becomes_at_fault_in_an_outage_in_which_others_wait(
    before: list[_Attempt], outage: list[_Attempt]
) -> None:
    trial = _Trial()
    at_fault_before = any(trial.fail(each) for each in before)
    waiting = (trial.accepted - _FIRST.accepted) // 100 + 1
    down = _Attempt(1.0, accepted=0, waiting=waiting, window_full=True)
    # The first failed attempt in an outage cannot be told from another failure.
    assume(not at_fault_before and not trial.fail(down))

    assert not any(trial.fail(each._replace(accepted=0, waiting=waiting)) for each in outage)


@given(attempts=_ATTEMPTS)
def test_an_event_beside_which_nothing_is_accepted_is_never_at_fault(
    attempts: list[_Attempt],
) -> None:
    trial = _Trial()

    assert not any(trial.fail(each._replace(accepted=0)) for each in attempts)


@given(attempts=_ATTEMPTS, every=st.floats(0.1, 30.0))
def test_an_event_that_fails_on_while_others_are_accepted_is_at_fault_in_the_end(
    attempts: list[_Attempt], every: float
) -> None:
    trial = _Trial()
    for each in attempts:
        trial.fail(each)
    began = trial.now

    flow = _Attempt(every, accepted=100, waiting=5_000, window_full=False)
    while not trial.fail(flow):
        assert trial.now - began < 3 * (_RULE.seconds + 30 * _RULE.attempts)
