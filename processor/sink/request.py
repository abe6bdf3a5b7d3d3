"""The request of a route: body and token are added to it, it is sent once, and timed.

Source of the body: AEP Streaming Ingestion API, `BatchMessage`. `createdAt` is optional and left
out; `x-adobe-flow-id` is for raw data that a mapping turns into XDM and is not sent with XDM.
"""

from collections.abc import Sequence

import msgspec

from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause
from processor.http.auth import Auth, Token
from processor.http.transport import HttpResponse, Post, Reply, TransportFault
from processor.settings import AepSettings, RouteSettings
from processor.sink.packing import InletRequest
from processor.sink.route_metrics import RouteMetrics

_OPEN, _CLOSE = b'{"messages":[', b"]}"
_TOO_LARGE = HttpResponse(413)


class Envelope:
    """What surrounds the XDM entity of every event of one route; rendered once."""

    __slots__ = ("_head", "_joint", "_tail", "event_overhead", "fixed_overhead")

    def __init__(self, aep: AepSettings, route: RouteSettings) -> None:
        schema = {"id": route.schema_id, "contentType": route.schema_content_type}
        header = {
            "schemaRef": schema,
            "imsOrgId": aep.org_id,
            "datasetId": route.dataset_id,
            "flowId": route.flow_id,
            "source": {"name": aep.source_name},
        }
        encode = msgspec.json.encode
        before = b'{"header":%b,"body":{"xdmMeta":{"schemaRef":%b},"xdmEntity":' % (
            encode(header),
            encode(schema),
        )
        after = b"}}"
        self._head = _OPEN + before
        self._joint = after + b"," + before
        self._tail = after + _CLOSE
        self.fixed_overhead = len(self._head) + len(self._tail) - len(self._joint)
        self.event_overhead = len(self._joint)

    def wrap(self, events: Sequence[ScoreEvent]) -> bytes:
        """Return the request body, of one event at least.

        Its size is `fixed_overhead`, and each event's own with `event_overhead` more. One copy is
        made, and no other of the request's size.
        """
        parts = [event.body for event in events]
        parts[0] = self._head + parts[0]
        parts[-1] += self._tail
        return self._joint.join(parts)


class Exchange(msgspec.Struct, frozen=True):
    """An attempt that is over. `seconds` is None where no request was sent."""

    reply: Reply
    token: Token | None = None
    seconds: float | None = None


class RouteTransport(msgspec.Struct, frozen=True):
    """Sends the requests of one route to its inlet. `auth` is None where it requires no token."""

    url: str
    post: Post
    auth: Auth | None
    headers: dict[str, str]
    envelope: Envelope
    max_bytes: int
    clock: Clock
    metrics: RouteMetrics

    async def send(self, request: InletRequest) -> Exchange:
        """Send a request once. What cannot fit is answered as the inlet would answer it."""
        body = self.envelope.wrap(request.events)
        if len(body) > self.max_bytes:
            return Exchange(_TOO_LARGE)
        try:
            token = await self.auth.bearer() if self.auth else None
        except UnavailableError:
            return Exchange(TransportFault.TOKEN)
        start = self.clock.monotonic()
        reply = await self._post(request, body, token)
        return Exchange(reply, token, self.clock.monotonic() - start)

    async def _post(self, request: InletRequest, body: bytes, token: Token | None) -> Reply:
        headers = self.headers | (token.header if token else {})
        self.metrics.started(len(request), len(body), resent=request.in_doubt)
        try:
            return await self.post(self.url, body, headers)
        except BaseException:  # the sink closes, or has a fault: whether it was taken is unknown
            self.metrics.in_doubt(len(request), Cause.STOPPED)
            request.mark_in_doubt(Cause.STOPPED)
            raise
        finally:
            self.metrics.finished()
