"""The catalog: datasets and batches of an organisation.

Source: AEP Catalog API (OpenAPI), the guide to it, and the guide to the download of scores.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.data_lake import DataLake, FailedBatch
from processor.simulator.aep.listing import Listing, as_count
from processor.simulator.aep.organisation import CatalogBatch, Dataset, Organisation
from processor.simulator.aep.responses import SimulatedResponse, json_response
from processor.simulator.aep.schema_registry_api import SchemaRegistryApi

_CLIENT = "acp_foundation_push"
_MOST_LISTED, _LISTED = 100, 20


class CatalogApi:
    """Responses of the catalog; `created` is called with each dataset that is made through it."""

    def __init__(
        self,
        organisation: Organisation,
        data_lake: DataLake,
        registry: SchemaRegistryApi,
        listing: Listing,
        clock: Clock,
    ) -> None:
        self.created: Callable[[Dataset], None] = lambda _: None
        self._organisation = organisation
        self._data_lake = data_lake
        self._registry = registry
        self._listing = listing
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._bodies: dict[str, tuple[int, dict[str, Any]]] = {}

    def create(self, body: bytes) -> SimulatedResponse:
        """Create a dataset of a schema of the registry; two may have one name (inferred).

        The answer is `["@/dataSets/<id>"]` (specified).
        """
        document = msgspec.json.decode(body)
        reference = document.get("schemaRef") if isinstance(document, dict) else None
        schema_id = str(reference.get("id")) if isinstance(reference, dict) else ""
        class_id = self._registry.class_of(schema_id)
        if class_id is None or not document.get("name"):
            return _bad_request("The dataset needs a name and the schemaRef of a known schema")
        dataset_id = secrets.token_hex(12)
        dataset = Dataset(
            dataset_id,
            document["name"],
            schema_id,
            str(reference["contentType"]) if isinstance(reference, dict) else "",
            self._registry.closed(schema_id),
            class_id,
        )
        self._organisation.datasets[dataset_id] = dataset
        self._bodies[dataset_id] = (self._clock.now_ms(), document)
        self.created(dataset)
        return json_response(201, [f"@/dataSets/{dataset_id}"])

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset, as a person could in the UI."""
        del self._organisation.datasets[dataset_id]

    def change(self, dataset_id: str, **members: object) -> None:
        """Change members of a dataset, as a person could in the UI, such as its tags."""
        created_ms, document = self._bodies.get(dataset_id, (self._started_ms, {}))
        self._bodies[dataset_id] = (created_ms, {**document, **members})

    def dataset(self, dataset_id: str) -> SimulatedResponse:
        """Look a dataset up."""
        dataset = self._organisation.datasets.get(dataset_id)
        if dataset is None:
            return not_found(f"Dataset {dataset_id}")
        return json_response(200, {dataset_id: self._dataset(dataset)})

    def datasets(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List datasets; at most 100 at a time (specified), 20 unless asked (documented)."""
        name = query.get("name")
        found = [
            each
            for each in self._organisation.datasets.values()
            if name in (None, each.name) and self._listing.is_listed(self._created_ms(each.id))
        ]
        page = self._page(found, query)
        shown = {each.id: self._dataset(each) for each in page}
        kept = set(filter(None, query.get("properties", "").split(",")))
        if kept:
            shown = {
                key: {n: v for n, v in each.items() if n in kept} for key, each in shown.items()
            }
        return json_response(200, shown)

    def batches(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List batches, oldest first unless `orderBy` is `desc:created` (documented)."""
        wanted = set(filter(None, query.get("status", "").split(",")))
        dataset_id, client = query.get("dataSet"), query.get("createdClient", _CLIENT)
        stored = self._organisation.batches.values()
        found = [
            (at, key, document)
            for at, key, document in [
                *((b.created_ms, b.id, self._batch(b)) for b in self._data_lake.failed()),
                *((b.created_ms, b.id, self._stored_batch(b)) for b in stored),
            ]
            if (not wanted or document["status"] in wanted)
            and dataset_id in (None, document["relatedObjects"][0]["id"])
            and client == _CLIENT
        ]
        found.sort(key=lambda each: each[0], reverse=query.get("orderBy") == "desc:created")
        page = self._page(found, query)
        return json_response(200, {key: document for _, key, document in page})

    def batch(self, batch_id: str) -> SimulatedResponse:
        """Look one batch up."""
        stored = self._organisation.batches.get(batch_id)
        failed = next((each for each in self._data_lake.failed() if each.id == batch_id), None)
        if stored is not None:
            return json_response(200, {batch_id: self._stored_batch(stored)})
        if failed is None:
            return not_found(f"Batch {batch_id}")
        return json_response(200, {batch_id: self._batch(failed)})

    def _page(self, found: list[Any], query: Mapping[str, str]) -> Any:  # noqa: ANN401  any items
        limit = min(_MOST_LISTED, as_count(query.get("limit"), _LISTED))
        return self._listing.page(found, as_count(query.get("start"), 0), limit)

    def _created_ms(self, dataset_id: str) -> int:
        made = self._bodies.get(dataset_id)
        return made[0] if made else 0

    def _dataset(self, dataset: Dataset) -> dict[str, Any]:
        created_ms, body = self._bodies.get(dataset.id, (self._started_ms, {}))
        members: dict[str, Any] = {
            key: body[key] for key in ("description", "state") if key in body
        }
        return {
            **self._stamp(created_ms),
            "name": dataset.name,
            "version": "1.0.0",
            "tags": {"adobe/pqs/table": [dataset.id], **body.get("tags", {})},
            "files": f"@/dataSetFiles?dataSetId={dataset.id}",
            "schemaRef": {"id": dataset.schema_id, "contentType": dataset.content_type},
            **members,
        }

    def _batch(self, batch: FailedBatch) -> dict[str, Any]:
        return {
            **self._stamp(batch.created_ms),
            "status": "failed",
            "version": "1.0.0",
            "failedRecordCount": len(batch.lines),
            "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        }

    def _stored_batch(self, batch: CatalogBatch) -> dict[str, Any]:
        """Return a batch as the guide to the download of scores shows it (documented)."""
        document = {
            **self._stamp(batch.created_ms),
            "started": batch.created_ms,
            "completed": batch.created_ms,
            "status": batch.status,
            "version": "1.0.5",
            "inputFormat": {"format": "parquet"},
            "metrics": {"outputRecordCount": batch.rows},
            "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        }
        if batch.predecessors:
            document["replay"] = {
                "predecessors": list(batch.predecessors),
                "reason": "Replacing the scores of the run before",
                "predecessorListingType": "IMMEDIATE",
            }
        return document

    def _stamp(self, created_ms: int) -> dict[str, Any]:
        return {
            "imsOrg": self._organisation.org_id,
            "created": created_ms,
            "createdClient": _CLIENT,
            "createdUser": f"{_CLIENT}@AdobeID",
            "updatedUser": f"{_CLIENT}@AdobeID",
            "updated": created_ms,
        }


def not_found(what: str) -> SimulatedResponse:
    """Return the answer to a look-up of what is not there."""
    title = f"{what} was not found"
    return json_response(404, {"type": "about:blank", "status": 404, "title": title})


def _bad_request(title: str) -> SimulatedResponse:
    return json_response(400, {"type": "about:blank", "status": 400, "title": title})
