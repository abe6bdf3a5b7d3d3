import pytest

from processor.sink.reply import Answer, Fault, Reply, code_of
from processor.sink.verdict import SHAPE, Action, Cause, Verdict, judge, judge_item

_ROWS: list[tuple[Reply, Action, Cause, bool]] = [
    (Answer(207), Action.ITEMS, Cause.NONE, False),
    (Answer(200), Action.RETRY, Cause.SHAPE, True),
    (Answer(201), Action.RETRY, Cause.SHAPE, True),
    (Answer(202), Action.RETRY, Cause.SHAPE, True),
    (Answer(204), Action.RETRY, Cause.SHAPE, True),
    (Answer(100), Action.RETRY, Cause.SHAPE, True),
    (Answer(301), Action.HOLD, Cause.REDIRECT, False),
    (Answer(302), Action.HOLD, Cause.REDIRECT, False),
    (Answer(304), Action.HOLD, Cause.REDIRECT, False),
    (Answer(307), Action.HOLD, Cause.REDIRECT, False),
    (Answer(308), Action.HOLD, Cause.REDIRECT, False),
    (Answer(400), Action.SPLIT, Cause.REFUSED, False),
    (Answer(401), Action.RENEW, Cause.AUTH, False),
    (Answer(402), Action.HOLD, Cause.INLET, False),
    (Answer(403), Action.RENEW, Cause.AUTH, False),
    (Answer(404), Action.HOLD, Cause.INLET, False),
    (Answer(405), Action.HOLD, Cause.INLET, False),
    (Answer(407), Action.HOLD, Cause.PROXY, False),
    (Answer(408), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(409), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(410), Action.HOLD, Cause.INLET, False),
    (Answer(411), Action.HOLD, Cause.INLET, False),
    (Answer(413), Action.SPLIT, Cause.TOO_LARGE, False),
    (Answer(414), Action.HOLD, Cause.INLET, False),
    (Answer(415), Action.HOLD, Cause.INLET, False),
    (Answer(418), Action.HOLD, Cause.INLET, False),
    (Answer(421), Action.HOLD, Cause.INLET, False),
    (Answer(422), Action.SPLIT, Cause.REFUSED, False),
    (Answer(423), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(425), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(426), Action.HOLD, Cause.INLET, False),
    (Answer(429), Action.RETRY, Cause.THROTTLED, False),
    (Answer(431), Action.HOLD, Cause.INLET, False),
    (Answer(500), Action.RETRY, Cause.SERVER, True),
    (Answer(501), Action.HOLD, Cause.INLET, False),
    (Answer(502), Action.RETRY, Cause.SERVER, True),
    (Answer(503), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(504), Action.RETRY, Cause.SERVER, True),
    (Answer(520), Action.RETRY, Cause.SERVER, True),
    (Answer(999), Action.RETRY, Cause.SHAPE, True),
    (Answer(207, flaw=Fault.TIMEOUT), Action.RETRY, Cause.TIMEOUT, True),
    (Answer(207, flaw=Fault.RESET), Action.RETRY, Cause.RESET, True),
    (Answer(207, flaw=Fault.GARBLED), Action.RETRY, Cause.SHAPE, True),
    (Answer(207, flaw=Fault.TOO_LONG), Action.RETRY, Cause.SHAPE, True),
    (Answer(207, flaw=Fault.ENCODED), Action.RETRY, Cause.SHAPE, True),
    (Answer(503, flaw=Fault.TOO_LONG), Action.RETRY, Cause.UNAVAILABLE, False),
    (Answer(413, flaw=Fault.RESET), Action.SPLIT, Cause.TOO_LARGE, False),
    (Fault.CONNECT, Action.RETRY, Cause.CONNECT, False),
    (Fault.DNS, Action.RETRY, Cause.DNS, False),
    (Fault.ADDRESS, Action.HOLD, Cause.ADDRESS, False),
    (Fault.TLS, Action.RETRY, Cause.TLS, False),
    (Fault.TOKEN, Action.HOLD, Cause.TOKEN, False),
    (Fault.PROXY, Action.RETRY, Cause.PROXY, False),
    (Fault.TIMEOUT, Action.RETRY, Cause.TIMEOUT, True),
    (Fault.RESET, Action.RETRY, Cause.RESET, True),
    (Fault.GARBLED, Action.RETRY, Cause.SHAPE, True),
    (Fault.TOO_LONG, Action.RETRY, Cause.SHAPE, True),
    (Fault.ENCODED, Action.RETRY, Cause.SHAPE, True),
]


@pytest.mark.parametrize(("reply", "action", "cause", "doubt"), _ROWS, ids=lambda v: str(v)[:40])
def test_a_request_is_judged_by_the_table(
    reply: Reply,
    action: Action,
    cause: Cause,
    doubt: bool,  # noqa: FBT001  a column
) -> None:
    assert judge(reply) == Verdict(action, cause, doubt)


def test_every_fault_has_a_row() -> None:
    judged = {row[0] for row in _ROWS if isinstance(row[0], Fault)}

    assert judged == set(Fault)


@pytest.mark.parametrize(
    ("status", "action", "cause"),
    [
        (200, Action.ACCEPT, Cause.NONE),
        (202, Action.ACCEPT, Cause.NONE),
        (207, Action.RETRY, Cause.SHAPE),
        (400, Action.REFUSE, Cause.REFUSED),
        (401, Action.RENEW, Cause.AUTH),
        (403, Action.RENEW, Cause.AUTH),
        (404, Action.HOLD, Cause.INLET),
        (408, Action.RETRY, Cause.UNAVAILABLE),
        (413, Action.REFUSE, Cause.TOO_LARGE),
        (422, Action.REFUSE, Cause.REFUSED),
        (429, Action.RETRY, Cause.THROTTLED),
        (500, Action.RETRY, Cause.SERVER),
        (503, Action.RETRY, Cause.UNAVAILABLE),
        (0, Action.RETRY, Cause.SHAPE),
        (-400, Action.RETRY, Cause.SHAPE),
        (10**12, Action.RETRY, Cause.SHAPE),
    ],
)
def test_an_item_is_judged_by_the_same_table(status: int, action: Action, cause: Cause) -> None:
    verdict = judge_item(status)

    assert (verdict.action, verdict.cause) == (action, cause)


def test_no_status_whatever_drops_an_event_but_the_four_that_blame_it() -> None:
    ends = {status for status in range(1000) if judge_item(status).action is Action.REFUSE}

    assert ends == {400, 413, 422}


def test_whatever_may_have_been_taken_is_in_doubt() -> None:
    assert all(judge(Answer(status)).doubt for status in (500, 502, 504, 599, 200, 202, 999))
    assert SHAPE.doubt


def test_metric_codes_are_a_closed_set_whatever_the_inlet_says() -> None:
    codes = {code_of(Answer(status)) for status in range(1000)}

    assert len(codes) < 80
    assert code_of(Fault.RESET) == "reset"
