"""Who else writes the same scores as events: rows would be twice in the reports.

CJA does not deduplicate rows. Sources: CJA guide to Customer AI (an instance may have an event
dataset of its own), AEP Catalog and Flow Service APIs.
"""

from collections.abc import Collection, Mapping
from typing import Final

from processor.adobe.blueprint import EVENT_CLASS
from processor.adobe.objects import AepObject, AepObjects, ObjectKind
from processor.domain.check_result import CheckResult, CheckStatus
from processor.enrich.event_schema import alphanumeric

_PREFIXES: Final = ("customeraiscoresineeformat", "customeraiscores")


class RivalDatasets:
    """Looks for batches, dataflows and datasets that are not ours; raises AdobeError."""

    def __init__(self, objects: AepObjects) -> None:
        self._objects = objects

    async def in_dataset(
        self, dataset: AepObject, route: str, flow: AepObject | None
    ) -> list[CheckResult]:
        """Return what else writes a dataset of ours.

        A batch is not ours where it is older than our dataflow, or replaces another one, which
        streaming never does (inferred).
        """
        results = []
        begin = flow.created_ms if flow is not None else None
        foreign = [
            batch
            for batch in await self._objects.batches(dataset.id)
            if begin is None or batch.created_ms < begin or "replay" in batch.document
        ]
        if foreign:
            sentence = f"{len(foreign)} batches are not ours, such as {foreign[0].id}."
            fix = "Use a dataset of its own for the events: set another `dataset_name`."
            results.append(_fail(f"batches of {route}", sentence, fix))
        ours = flow.id if flow is not None else ""
        others = [each.id for each in await self._objects.flows_into(dataset.id) if each.id != ours]
        if others:
            sentence = f"Another dataflow writes the dataset: {', '.join(others)}."
            fix = "Delete it in AEP: Sources > Dataflows, or set another `dataset_name`."
            results.append(_fail(f"dataflows of {route}", sentence, fix))
        return results

    async def native(
        self, predictions: Mapping[str, str], ours: Collection[str]
    ) -> list[CheckResult]:
        """Return the event datasets that Customer AI itself writes for our predictions by route."""
        routes = {alphanumeric(name).casefold(): route for route, name in predictions.items()}
        results = []
        async for dataset in self._objects.datasets():
            route = routes.get(_instance(str(dataset.document.get("name"))))
            if route is None or dataset.id in ours or not await self._is_event(dataset):
                continue
            sentence = (
                f"Customer AI writes events of this prediction itself: {dataset.document['name']} "
                f"({dataset.id}). In a report its rows would be beside ours, each score twice."
            )
            fix = (
                "Use one of the two: connect Customer AI's dataset to CJA and remove the route, or "
                "switch off scores for CJA in the instance."
            )
            results.append(_fail(f"native dataset of {route}", sentence, fix))
        return results

    async def _is_event(self, dataset: AepObject) -> bool:
        reference = dataset.document.get("schemaRef")
        schema_id = reference.get("id") if isinstance(reference, dict) else None
        schema = await self._objects.find(ObjectKind.SCHEMA, str(schema_id)) if schema_id else None
        return schema is not None and schema.document.get("meta:class") == EVENT_CLASS


def _instance(name: str) -> str:
    """Return the name of the Customer AI instance in a dataset's name, folded; empty if none."""
    folded = alphanumeric(name).casefold()
    return next((folded.removeprefix(each) for each in _PREFIXES if folded.startswith(each)), "")


def _fail(name: str, sentence: str, fix: str) -> CheckResult:
    return CheckResult(name, CheckStatus.FAIL, sentence, fix)
