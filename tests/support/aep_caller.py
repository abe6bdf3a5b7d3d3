"""Calls the AEP simulator as a sender does: plain HTTP, one request at a time."""

import http.client
import json
from typing import Any, NamedTuple, TypeAlias

from processor.simulator.aep.organisation import Dataset
from processor.simulator.aep.simulator import AepSimulator

Json: TypeAlias = Any

CLOSED: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["_id", "timestamp"],
    "properties": {
        "_id": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "score": {"type": "number"},
    },
}
_REF = {
    "id": "https://ns.adobe.com/acme/schemas/1",
    "contentType": "application/vnd.adobe.xed-full+json;version=1",
}


class AepResponse(NamedTuple):
    """Status, headers and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)


def with_dataset(simulator: AepSimulator) -> AepSimulator:
    """Register inlet `in`, flow `flow` and dataset `ds`, whose schema is closed."""
    dataset = Dataset("ds", "Scores", _REF["id"], schema=CLOSED)
    simulator.register(inlet_id="in", flow_id="flow", dataset=dataset)
    return simulator


def row(number: int = 1, **more: Json) -> dict[str, Any]:
    return {"_id": f"{number:064x}", "timestamp": "2026-11-02T00:00:00Z", **more}


def message(entity: dict[str, Any] | None = None, **header: Json) -> dict[str, Any]:
    """Return a valid message; header fields given as None are omitted."""
    fields = {
        "schemaRef": _REF,
        "imsOrgId": "SIMULATOR000000000000000@AdobeOrg",
        "datasetId": "ds",
        "flowId": "flow",
        "source": {"name": "test"},
        **header,
    }
    return {
        "header": {name: found for name, found in fields.items() if found is not None},
        "body": {"xdmMeta": {"schemaRef": _REF}, "xdmEntity": row() if entity is None else entity},
    }


class AepCaller:
    """A client with its own token; each call opens a connection."""

    def __init__(self, simulator: AepSimulator) -> None:
        self.simulator = simulator
        self.headers = {
            "Authorization": f"Bearer {simulator.ims.issue()}",
            "x-sandbox-name": "prod",
            "Content-Type": "application/json",
            "x-api-key": "simulator-client",
            "x-gw-ims-org-id": "SIMULATOR000000000000000@AdobeOrg",
        }

    def call(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str | None
    ) -> AepResponse:
        """Call; headers given as None are omitted, `_` in their names stands for `-`."""
        changed = {name.replace("_", "-"): text for name, text in headers.items()}
        named = {**self.headers, **changed}
        address = self.simulator.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            given = {name: text for name, text in named.items() if text is not None}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return AepResponse(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> AepResponse:
        return self.call("GET", path)

    def single(self, content: Json, query: str = "", /, **headers: str | None) -> AepResponse:
        return self.call("POST", f"/collection/in{query}", json.dumps(content), **headers)

    def batch(self, *messages: Json) -> AepResponse:
        return self.call("POST", "/collection/batch/in", json.dumps({"messages": messages}))
