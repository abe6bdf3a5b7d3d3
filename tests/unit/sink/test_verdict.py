import pytest

from processor.domain.outcome import Cause
from processor.http.transport import HttpResponse, Reply, TransportFault
from processor.sink.response import assess
from processor.sink.route_metrics import code_of
from processor.sink.verdict import SHAPE, Action, Verdict, judge, judge_item
from tests.support.score_events import score_events

_ROWS: list[tuple[Reply, Action, Cause, bool]] = [
    (HttpResponse(207), Action.ITEMS, Cause.NONE, False),
    (HttpResponse(200), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(201), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(202), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(204), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(100), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(301), Action.PAUSE, Cause.REDIRECT, False),
    (HttpResponse(302), Action.PAUSE, Cause.REDIRECT, False),
    (HttpResponse(304), Action.PAUSE, Cause.REDIRECT, False),
    (HttpResponse(307), Action.PAUSE, Cause.REDIRECT, False),
    (HttpResponse(308), Action.PAUSE, Cause.REDIRECT, False),
    (HttpResponse(400), Action.SPLIT, Cause.REFUSED, False),
    (HttpResponse(401), Action.RENEW, Cause.AUTH, False),
    (HttpResponse(402), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(403), Action.RENEW, Cause.AUTH, False),
    (HttpResponse(404), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(405), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(407), Action.PAUSE, Cause.PROXY, False),
    (HttpResponse(408), Action.RETRY, Cause.UNAVAILABLE, False),
    (HttpResponse(409), Action.RETRY, Cause.UNAVAILABLE, False),
    (HttpResponse(410), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(411), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(413), Action.SPLIT, Cause.TOO_LARGE, False),
    (HttpResponse(414), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(415), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(418), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(421), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(422), Action.SPLIT, Cause.REFUSED, False),
    (HttpResponse(423), Action.RETRY, Cause.UNAVAILABLE, False),
    (HttpResponse(425), Action.RETRY, Cause.UNAVAILABLE, False),
    (HttpResponse(426), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(429), Action.RETRY, Cause.THROTTLED, False),
    (HttpResponse(431), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(500), Action.RETRY, Cause.SERVER, True),
    (HttpResponse(501), Action.PAUSE, Cause.INLET, False),
    (HttpResponse(502), Action.RETRY, Cause.SERVER, True),
    (HttpResponse(503), Action.RETRY, Cause.UNAVAILABLE, False),
    (HttpResponse(504), Action.RETRY, Cause.SERVER, True),
    (HttpResponse(520), Action.RETRY, Cause.SERVER, True),
    (HttpResponse(999), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(207, body_fault=TransportFault.TIMEOUT), Action.RETRY, Cause.TIMEOUT, True),
    (HttpResponse(207, body_fault=TransportFault.RESET), Action.RETRY, Cause.RESET, True),
    (HttpResponse(207, body_fault=TransportFault.GARBLED), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(207, body_fault=TransportFault.TOO_LONG), Action.RETRY, Cause.SHAPE, True),
    (HttpResponse(207, body_fault=TransportFault.ENCODED), Action.RETRY, Cause.SHAPE, True),
    (
        HttpResponse(503, body_fault=TransportFault.TOO_LONG),
        Action.RETRY,
        Cause.UNAVAILABLE,
        False,
    ),
    (HttpResponse(413, body_fault=TransportFault.RESET), Action.SPLIT, Cause.TOO_LARGE, False),
    (TransportFault.CONNECT, Action.RETRY, Cause.CONNECT, False),
    (TransportFault.DNS, Action.RETRY, Cause.DNS, False),
    (TransportFault.ADDRESS, Action.PAUSE, Cause.ADDRESS, False),
    (TransportFault.TLS, Action.RETRY, Cause.TLS, False),
    (TransportFault.TOKEN, Action.PAUSE, Cause.TOKEN, False),
    (TransportFault.PROXY, Action.RETRY, Cause.PROXY, False),
    (TransportFault.TIMEOUT, Action.RETRY, Cause.TIMEOUT, True),
    (TransportFault.RESET, Action.RETRY, Cause.RESET, True),
    (TransportFault.GARBLED, Action.RETRY, Cause.SHAPE, True),
    (TransportFault.TOO_LONG, Action.RETRY, Cause.SHAPE, True),
    (TransportFault.ENCODED, Action.RETRY, Cause.SHAPE, True),
]


@pytest.mark.parametrize(("reply", "action", "cause", "in_doubt"), _ROWS, ids=lambda v: str(v)[:40])
def test_a_request_is_judged_by_the_table(
    reply: Reply,
    action: Action,
    cause: Cause,
    in_doubt: bool,  # noqa: FBT001  a column
) -> None:
    assert judge(reply) == Verdict(action, cause, in_doubt)


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
        (404, Action.PAUSE, Cause.INLET),
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


def test_only_the_three_statuses_that_blame_the_event_refuse_it() -> None:
    """As an item's own status, as that of a request of one event; more events are split first."""
    one, two = score_events(1), score_events(2)
    replies = {status: HttpResponse(status) for status in range(1000)}

    items = {status for status in replies if judge_item(status).action is Action.REFUSE}
    alone = {status for status, reply in replies.items() if assess(reply, one).refused}
    split = {status for status, reply in replies.items() if judge(reply).action is Action.SPLIT}
    together = {status for status, reply in replies.items() if assess(reply, two).refused}

    assert items == alone == split == {400, 413, 422}
    assert together == set()


def test_no_fault_refuses_an_event() -> None:
    assert all(not assess(fault, score_events(1)).refused for fault in TransportFault)


def test_events_that_may_have_been_accepted_are_in_doubt() -> None:
    assert all(
        judge(HttpResponse(status)).in_doubt for status in (500, 502, 504, 599, 200, 202, 999)
    )
    assert SHAPE.in_doubt


def test_metric_codes_are_a_closed_set_for_any_status() -> None:
    codes = {code_of(HttpResponse(status)) for status in range(1000)}

    assert len(codes) < 80
    assert code_of(TransportFault.RESET) == "reset"
