"""The verdict: what every status and every fault of the inlet means for the events it was about.

One table. Sources: AEP Streaming Ingestion API (statuses of `/collection/batch/{id}`), its
troubleshooting page; what Adobe leaves open follows RFC 9110. `doubt` marks a reply after which the
events may or may not have been taken: AEP keeps duplicates, so each such event is listed.
"""

from enum import StrEnum
from typing import NamedTuple

from processor.sink.reply import Reply, TransportFault


class Action(StrEnum):
    """What to do with the events of a request, or with one of them."""

    ACCEPT = "accept"
    """The inlet has it."""
    ITEMS = "items"
    """Look inside: each event has its own status."""
    SPLIT = "split"
    """Halve the request until the guilty event stands alone; alone it is refused."""
    REFUSE = "refuse"
    """This event is bad: dead-letter it."""
    RETRY = "retry"
    """Send it again after a back-off."""
    RENEW = "renew"
    """Get a newer token and send it again, once; after that, hold."""
    HOLD = "hold"
    """The way to the inlet is wrong, not the event: stop the lane, look again now and then."""


class Cause(StrEnum):
    """Why, as metrics and reasons say it."""

    NONE = "none"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    AUTH = "auth"
    TOKEN = "token"  # noqa: S105  a word
    INLET = "inlet"
    REDIRECT = "redirect"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    SERVER = "server_error"
    SHAPE = "shape"
    TIMEOUT = "timeout"
    RESET = "reset"
    CONNECT = "connect"
    DNS = "dns"
    ADDRESS = "address"
    TLS = "tls"
    PROXY = "proxy"
    STOPPED = "stopped"


class Verdict(NamedTuple):
    """An action, its cause, and whether the events may have been taken all the same."""

    action: Action
    cause: Cause
    doubt: bool = False


SHAPE = Verdict(Action.RETRY, Cause.SHAPE, doubt=True)
"""An answer that cannot be understood is never taken for a yes or a no."""

_ACCEPT = Verdict(Action.ACCEPT, Cause.NONE)
_WRONG_INLET = Verdict(Action.HOLD, Cause.INLET)
_NOT_NOW = Verdict(Action.RETRY, Cause.UNAVAILABLE)
_BROKEN = Verdict(Action.RETRY, Cause.SERVER, doubt=True)

_STATUSES: dict[int, Verdict] = {
    207: Verdict(Action.ITEMS, Cause.NONE),
    400: Verdict(Action.SPLIT, Cause.REFUSED),
    401: Verdict(Action.RENEW, Cause.AUTH),
    403: Verdict(Action.RENEW, Cause.AUTH),
    407: Verdict(Action.HOLD, Cause.PROXY),
    408: _NOT_NOW,
    409: _NOT_NOW,
    413: Verdict(Action.SPLIT, Cause.TOO_LARGE),
    422: Verdict(Action.SPLIT, Cause.REFUSED),
    423: _NOT_NOW,
    425: _NOT_NOW,
    429: Verdict(Action.RETRY, Cause.THROTTLED),
    501: _WRONG_INLET,
    503: _NOT_NOW,
}
_CLASSES: dict[int, Verdict] = {
    3: Verdict(Action.HOLD, Cause.REDIRECT),
    4: _WRONG_INLET,
    5: _BROKEN,
}
_FAULTS: dict[TransportFault, Verdict] = {
    TransportFault.CONNECT: Verdict(Action.RETRY, Cause.CONNECT),
    TransportFault.DNS: Verdict(Action.RETRY, Cause.DNS),
    TransportFault.ADDRESS: Verdict(Action.HOLD, Cause.ADDRESS),
    TransportFault.TLS: Verdict(Action.RETRY, Cause.TLS),
    TransportFault.TOKEN: Verdict(Action.HOLD, Cause.TOKEN),
    TransportFault.PROXY: Verdict(Action.RETRY, Cause.PROXY),
    TransportFault.TIMEOUT: Verdict(Action.RETRY, Cause.TIMEOUT, doubt=True),
    TransportFault.RESET: Verdict(Action.RETRY, Cause.RESET, doubt=True),
    TransportFault.GARBLED: SHAPE,
    TransportFault.TOO_LONG: SHAPE,
    TransportFault.ENCODED: SHAPE,
}


def judge(reply: Reply) -> Verdict:
    """Judge a whole request."""
    if isinstance(reply, TransportFault):
        return _FAULTS[reply]
    verdict = _of_status(reply.status)
    if verdict.action is Action.ITEMS and reply.flaw is not None:
        return _FAULTS[reply.flaw]
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
