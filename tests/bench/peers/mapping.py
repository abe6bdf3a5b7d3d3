"""What every peer does by hand, the same for all: bytes -> score -> event -> request.

This is what a careful engineer writes for such a framework in an afternoon, on the fastest JSON and
Avro libraries there are: no validation, no identity rules, no limits beyond the size of a request.
"""
# mypy: disable-error-code="import-not-found,no-any-return"

import hashlib
import io
import os
from collections.abc import Iterator
from typing import Any

import fastavro
import orjson

BOOTSTRAP = os.environ["BENCH_BOOTSTRAP"]
SCORES = os.environ["BENCH_SCORES"]
EVENTS = os.environ.get("BENCH_EVENTS", "")
INLET = os.environ["BENCH_INLET"]
GROUP = os.environ["BENCH_GROUP"]
_AVRO = os.environ.get("BENCH_AVRO")
_SCHEMA = fastavro.parse_schema(orjson.loads(_AVRO)) if _AVRO else None
_REQUEST_BYTES = 1_000_000
_REF = {"id": "https://ns.adobe.com/bench/schemas/scores", "contentType": "xed-full+json;version=1"}
_HEADER = {
    "schemaRef": _REF,
    "imsOrgId": "BENCH@AdobeOrg",
    "datasetId": "bench-dataset",
    "flowId": "bench-flow",
    "source": {"name": "bench"},
}
_FIELDS = ("score", "probability", "percentileScore", "modelType", "scoreDate")


def decode(value: bytes) -> dict[str, Any]:
    """Return a record's content; Avro where the bench says so."""
    if _SCHEMA is None:
        content: dict[str, Any] = orjson.loads(value)
        return content
    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), _SCHEMA, None)
    assert isinstance(read, dict)
    return read


def event_of(record: dict[str, Any], past: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the XDM event of a score record, with what is known of the person."""
    model, found = next(iter(record["_acme"]["CustomerAI"].items()))
    ecid = record["identityMap"]["ECID"][0]["id"]
    at = found["scoreDate"]
    name = hashlib.sha256(f"acme|{model}|ECID|{ecid}|{at}".encode()).hexdigest()
    context: dict[str, Any] = {"predictionName": model, "scoreBucket": _bucket(found["score"])}
    if past:
        context |= _behaviour(past)
    return {
        "_id": name,
        "timestamp": at,
        "eventType": "customerAI.scored",
        "producedBy": "system",
        "identityMap": {"ECID": [{"id": ecid, "primary": True}]},
        "_acme": {"CustomerAI": {model: found}, "scoreContext": context},
    }


def facts_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be remembered of an experience event."""
    return {
        "type": event["eventType"],
        "at": event["timestamp"],
        "page": event.get("web", {}).get("webPageDetails", {}).get("name"),
    }


def bodies(events: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield request bodies just under a megabyte."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        body = {"xdmMeta": {"schemaRef": _REF}, "xdmEntity": event}
        message = orjson.dumps({"header": _HEADER, "body": body})
        if size + len(message) > _REQUEST_BYTES:
            yield b'{"messages":[' + b",".join(batch) + b"]}"
            batch, size = [], 0
        batch.append(message)
        size += len(message) + 1
    if batch:
        yield b'{"messages":[' + b",".join(batch) + b"]}"


def _bucket(score: float) -> str:
    if score < 25:
        return "low"
    return "high" if score >= 75 else "medium"


def _behaviour(past: list[dict[str, Any]]) -> dict[str, Any]:
    last = past[-1]
    return {
        "lastEventType": last["type"],
        "lastEventTimestamp": last["at"],
        "lastPageName": next((fact["page"] for fact in reversed(past) if fact["page"]), ""),
        "eventCount": len(past),
    }
