import pytest

from processor.sink.reply import InletResponse, Reply, TransportFault, code_of
from processor.sink.verdict import SHAPE, Action, Cause, Verdict, judge, judge_item

_ROWS: list[tuple[Reply, Action, Cause, bool]] = [
    (InletResponse(207), Action.ITEMS, Cause.NONE, False),
    (InletResponse(200), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(201), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(202), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(204), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(100), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(301), Action.HOLD, Cause.REDIRECT, False),
    (InletResponse(302), Action.HOLD, Cause.REDIRECT, False),
    (InletResponse(304), Action.HOLD, Cause.REDIRECT, False),
    (InletResponse(307), Action.HOLD, Cause.REDIRECT, False),
    (InletResponse(308), Action.HOLD, Cause.REDIRECT, False),
    (InletResponse(400), Action.SPLIT, Cause.REFUSED, False),
    (InletResponse(401), Action.RENEW, Cause.AUTH, False),
    (InletResponse(402), Action.HOLD, Cause.INLET, False),
    (InletResponse(403), Action.RENEW, Cause.AUTH, False),
    (InletResponse(404), Action.HOLD, Cause.INLET, False),
    (InletResponse(405), Action.HOLD, Cause.INLET, False),
    (InletResponse(407), Action.HOLD, Cause.PROXY, False),
    (InletResponse(408), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(409), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(410), Action.HOLD, Cause.INLET, False),
    (InletResponse(411), Action.HOLD, Cause.INLET, False),
    (InletResponse(413), Action.SPLIT, Cause.TOO_LARGE, False),
    (InletResponse(414), Action.HOLD, Cause.INLET, False),
    (InletResponse(415), Action.HOLD, Cause.INLET, False),
    (InletResponse(418), Action.HOLD, Cause.INLET, False),
    (InletResponse(421), Action.HOLD, Cause.INLET, False),
    (InletResponse(422), Action.SPLIT, Cause.REFUSED, False),
    (InletResponse(423), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(425), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(426), Action.HOLD, Cause.INLET, False),
    (InletResponse(429), Action.RETRY, Cause.THROTTLED, False),
    (InletResponse(431), Action.HOLD, Cause.INLET, False),
    (InletResponse(500), Action.RETRY, Cause.SERVER, True),
    (InletResponse(501), Action.HOLD, Cause.INLET, False),
    (InletResponse(502), Action.RETRY, Cause.SERVER, True),
    (InletResponse(503), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(504), Action.RETRY, Cause.SERVER, True),
    (InletResponse(520), Action.RETRY, Cause.SERVER, True),
    (InletResponse(999), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(207, flaw=TransportFault.TIMEOUT), Action.RETRY, Cause.TIMEOUT, True),
    (InletResponse(207, flaw=TransportFault.RESET), Action.RETRY, Cause.RESET, True),
    (InletResponse(207, flaw=TransportFault.GARBLED), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(207, flaw=TransportFault.TOO_LONG), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(207, flaw=TransportFault.ENCODED), Action.RETRY, Cause.SHAPE, True),
    (InletResponse(503, flaw=TransportFault.TOO_LONG), Action.RETRY, Cause.UNAVAILABLE, False),
    (InletResponse(413, flaw=TransportFault.RESET), Action.SPLIT, Cause.TOO_LARGE, False),
    (TransportFault.CONNECT, Action.RETRY, Cause.CONNECT, False),
    (TransportFault.DNS, Action.RETRY, Cause.DNS, False),
    (TransportFault.ADDRESS, Action.HOLD, Cause.ADDRESS, False),
    (TransportFault.TLS, Action.RETRY, Cause.TLS, False),
    (TransportFault.TOKEN, Action.HOLD, Cause.TOKEN, False),
    (TransportFault.PROXY, Action.RETRY, Cause.PROXY, False),
    (TransportFault.TIMEOUT, Action.RETRY, Cause.TIMEOUT, True),
    (TransportFault.RESET, Action.RETRY, Cause.RESET, True),
    (TransportFault.GARBLED, Action.RETRY, Cause.SHAPE, True),
    (TransportFault.TOO_LONG, Action.RETRY, Cause.SHAPE, True),
    (TransportFault.ENCODED, Action.RETRY, Cause.SHAPE, True),
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
    judged = {row[0] for row in _ROWS if isinstance(row[0], TransportFault)}

    assert judged == set(TransportFault)


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
    assert all(judge(InletResponse(status)).doubt for status in (500, 502, 504, 599, 200, 202, 999))
    assert SHAPE.doubt


def test_metric_codes_are_a_closed_set_whatever_the_inlet_says() -> None:
    codes = {code_of(InletResponse(status)) for status in range(1000)}

    assert len(codes) < 80
    assert code_of(TransportFault.RESET) == "reset"
