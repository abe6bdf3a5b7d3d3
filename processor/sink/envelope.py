"""The request body: constant envelopes, rendered once per route, around bodies made elsewhere.

Source: AEP Streaming Ingestion API, `BatchMessage`. `createdAt` is optional and left out;
`x-adobe-flow-id` is for raw data that a mapping turns into XDM and is not sent with XDM.
"""

from collections.abc import Sequence

import msgspec

from processor.domain.event import ScoreEvent
from processor.settings import AepSettings, RouteSettings

_OPEN, _CLOSE = b'{"messages":[', b"]}"


class Envelope:
    """What surrounds the XDM entity of every event of one route."""

    __slots__ = ("_head", "_joint", "_tail", "around", "between")

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
        self.around = len(self._head) + len(self._tail) - len(self._joint)
        self.between = len(self._joint)

    def wrap(self, events: Sequence[ScoreEvent]) -> bytes:
        """Return the request body: `around` bytes, and each event's own with `between` more.

        There is at least one event. One copy is made, and no other of the request's size.
        """
        parts = [event.body for event in events]
        parts[0] = self._head + parts[0]
        parts[-1] += self._tail
        return self._joint.join(parts)
