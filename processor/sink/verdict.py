"""The verdict: what every status and every fault of the inlet means for the events it was about.

One table. Sources: AEP Streaming Ingestion API (statuses of `/collection/batch/{id}`), its
troubleshooting page; what Adobe leaves open follows RFC 9110. `in_doubt` marks a reply after which
the events may or may not have been accepted: AEP keeps duplicates, so each such event is listed.
"""

from enum import StrEnum
from typing import NamedTuple

from processor.domain.outcome import Cause
from processor.http.transport import Reply, TransportFault


class Action(StrEnum):
    """What to do with the events of a request, or with one of them."""

    ACCEPT = "accept"
    """The inlet accepted it."""
    ITEMS = "items"
    """Look inside: each event has its own status."""
    SPLIT = "split"
    """Halve the request until the bad event is alone in one; then it is refused."""
    REFUSE = "refuse"
    """This event is bad: dead-letter it."""
    RETRY = "retry"
    """Send it again after a back-off."""
    RENEW = "renew"
    """Get a newer token and send it again, once; after that, pause."""
    PAUSE = "pause"
    """Address, settings or credentials are wrong, not the event: pause the route and probe it."""


class Verdict(NamedTuple):
    """An action, its cause, and whether the events may have been accepted all the same."""

    action: Action
    cause: Cause
    in_doubt: bool = False


SHAPE = Verdict(Action.RETRY, Cause.SHAPE, in_doubt=True)
"""An answer that cannot be understood is neither an acceptance nor a refusal."""

_ACCEPT = Verdict(Action.ACCEPT, Cause.NONE)
_WRONG_INLET = Verdict(Action.PAUSE, Cause.INLET)
_UNAVAILABLE = Verdict(Action.RETRY, Cause.UNAVAILABLE)
_SERVER_ERROR = Verdict(Action.RETRY, Cause.SERVER, in_doubt=True)

_STATUSES: dict[int, Verdict] = {
    207: Verdict(Action.ITEMS, Cause.NONE),
    400: Verdict(Action.SPLIT, Cause.REFUSED),
    401: Verdict(Action.RENEW, Cause.AUTH),
    403: Verdict(Action.RENEW, Cause.AUTH),
    407: Verdict(Action.PAUSE, Cause.PROXY),
    408: _UNAVAILABLE,
    409: _UNAVAILABLE,
    413: Verdict(Action.SPLIT, Cause.TOO_LARGE),
    422: Verdict(Action.SPLIT, Cause.REFUSED),
    423: _UNAVAILABLE,
    425: _UNAVAILABLE,
    429: Verdict(Action.RETRY, Cause.THROTTLED),
    501: _WRONG_INLET,
    503: _UNAVAILABLE,
}
_CLASSES: dict[int, Verdict] = {
    3: Verdict(Action.PAUSE, Cause.REDIRECT),
    4: _WRONG_INLET,
    5: _SERVER_ERROR,
}
_FAULTS: dict[TransportFault, Verdict] = {
    TransportFault.CONNECT: Verdict(Action.RETRY, Cause.CONNECT),
    TransportFault.DNS: Verdict(Action.RETRY, Cause.DNS),
    TransportFault.ADDRESS: Verdict(Action.PAUSE, Cause.ADDRESS),
    TransportFault.TLS: Verdict(Action.RETRY, Cause.TLS),
    TransportFault.TOKEN: Verdict(Action.PAUSE, Cause.TOKEN),
    TransportFault.PROXY: Verdict(Action.RETRY, Cause.PROXY),
    TransportFault.TIMEOUT: Verdict(Action.RETRY, Cause.TIMEOUT, in_doubt=True),
    TransportFault.RESET: Verdict(Action.RETRY, Cause.RESET, in_doubt=True),
    TransportFault.GARBLED: SHAPE,
    TransportFault.TOO_LONG: SHAPE,
    TransportFault.ENCODED: SHAPE,
}


def judge(reply: Reply) -> Verdict:
    """Judge a whole request."""
    if isinstance(reply, TransportFault):
        return _FAULTS[reply]
    verdict = _of_status(reply.status)
    if verdict.action is Action.ITEMS and reply.body_fault is not None:
        return _FAULTS[reply.body_fault]
    return verdict


def judge_item(status: int) -> Verdict:
    """Judge one event by its own status inside a 207: as a request of one event would be judged."""
    verdict = _of_status(status)
    if verdict.action is Action.SPLIT:
        return Verdict(Action.REFUSE, verdict.cause)
    if verdict.action is Action.ITEMS:
        return SHAPE
    return _ACCEPT if 200 <= status < 300 else verdict  # noqa: PLR2004  the 2xx class


def _of_status(status: int) -> Verdict:
    return _STATUSES.get(status) or _CLASSES.get(status // 100, SHAPE)
