"""The faults of an inlet that the sink survives, by name."""

import gzip
from asyncio import StreamWriter
from email.utils import formatdate

from tests.support.inlet import (
    FakeInlet,
    Reaction,
    Request,
    accepts,
    answers,
    drips,
    hangs,
    resets,
    writes,
)

_BOMB = gzip.compress(b"\0" * 100_000_000, 9)

TRANSIENT: dict[str, tuple[Reaction, bool]] = {
    "429": (answers(429), False),
    "429 with seconds": (answers(429, Retry_After="0.2"), False),
    "429 with nonsense": (answers(429, Retry_After="soon"), False),
    "429 with a negative wait": (answers(429, Retry_After="-99999999999"), False),
    "429 with a date that is past": (answers(429, Retry_After=formatdate(1)), False),
    "408": (answers(408), False),
    "500": (answers(500, "oops"), True),
    "502": (answers(502, b"<html>"), True),
    "503": (answers(503, Retry_After="0.1"), False),
    "504": (answers(504), True),
    "503 with a gzip bomb": (answers(503, _BOMB, Content_Encoding="gzip"), False),
    "404": (answers(404), False),
    "405": (answers(405), False),
    "410": (answers(410), False),
    "301": (answers(301, Location="http://127.0.0.1:1/elsewhere"), False),
    "307": (answers(307, Location="http://127.0.0.1:1/elsewhere"), False),
    "501": (answers(501), False),
    "200 to a batch": (answers(200, {"inletId": "i", "xactionId": "x"}), True),
    "202": (answers(202), True),
    "reset before it was accepted": (resets(), True),
    "closed without an answer": (writes(b""), True),
    "not HTTP": (writes(b"SSH-2.0-OpenSSH\r\n\r\n"), True),
    "half a status line": (writes(b"HTTP/1.1 20"), True),
    "half an answer": (writes(b'HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{"resp'), True),
    "a length that is too short": (
        writes(b'HTTP/1.1 207 M\r\nContent-Length: 9\r\n\r\n{"responses":[]}'),
        True,
    ),
    "a length that is no number": (writes(b"HTTP/1.1 207 M\r\nContent-Length: x\r\n\r\n{}"), True),
    "two lengths": (
        writes(b"HTTP/1.1 207 M\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
        True,
    ),
    "hang": (hangs(), True),
    "drip": (drips(b"HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n" + b" " * 900, 0.02), True),
    "late": (answers(207, wait=5), True),
    "207 not JSON": (answers(207, "<html>ok</html>"), True),
    "207 without responses": (answers(207, {"inletId": "i"}), True),
    "207 with too few": (answers(207, {"responses": [{"xactionId": "a-0"}]}), True),
    "207 with too many": (answers(207, {"responses": [{"xactionId": "a"}] * 9}), True),
    "207 with a gzip answer": (answers(207, gzip.compress(b"{}"), Content_Encoding="gzip"), True),
    "207 with a gzip bomb": (answers(207, _BOMB, Content_Encoding="gzip"), True),
    "207 of 20 MB": (answers(207, b" " * 20_000_000), True),
    "items 503": (accepts({i: {"status": 503} for i in range(5)}), False),
    "items 429": (accepts({i: {"statusCode": "429"} for i in range(5)}), False),
    "items of unknown shape": (accepts({i: {"status": "pass"} for i in range(5)}), True),
}
"""Each with whether the events of the request are in doubt afterwards."""


SLOW_OR_WRONG_COUNT = ("hang", "drip", "late", "207 with too few", "207 with too many")


def accepts_then(reaction: Reaction) -> Reaction:
    async def accepting(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        inlet.accepted += request.ids
        await reaction(request, writer, inlet)

    return accepting


LOSES_THE_ANSWER = [
    resets(accepted=True),
    accepts_then(answers(500)),
    accepts_then(answers(504)),
    accepts_then(answers(200)),
    accepts_then(answers(207, "not json")),
    accepts_then(writes(b"HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{")),
]
