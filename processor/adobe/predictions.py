"""The Customer AI score datasets of a sandbox, and which route takes each.

Source: AEP Catalog and Schema Registry APIs; names of datasets and batches as in the guides to
Customer AI and to the download of its scores. A score dataset has a schema of class XDM Individual
Profile; each scoring run is a batch of it that replaces the one before.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from processor.adobe.control_api import ControlApi
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import rfc3339

PREFIX: Final = "Customer AI Scores"
"""How the names of Customer AI's score datasets begin."""
PROFILE_CLASS: Final = "https://ns.adobe.com/xdm/context/profile"

_NAME: Final = re.compile(
    rf"{PREFIX}(?: in EE Format)?\s*[-\u2013\u2014]?\s*(?P<instance>.*)", re.IGNORECASE
)
_ACCEPT: Final = {"Accept": "application/vnd.adobe.xed-full+json; version=1"}
_FOUNDATION: Final = "/data/foundation"
_CONTAINER: Final = "customerai"
_PAGE, _MOST_PAGES = 100, 1_000


class ScoringRun(msgspec.Struct, frozen=True):
    """The newest successful batch of a score dataset; `rows` is None where AEP does not say."""

    batch_id: str
    completed_ms: int
    rows: int | None


class ScoreDataset(msgspec.Struct, frozen=True):
    """A dataset with the name or id of a score dataset.

    `class_id` and `models`, the keys below `CustomerAI`, are those of its schema; `class_id` is
    empty where the schema does not say.
    """

    id: str
    name: str
    class_id: str
    models: tuple[str, ...] = ()
    run: ScoringRun | None = None

    @property
    def instance(self) -> str:
        """The name of the Customer AI instance, as the name of the dataset has it."""
        found = _NAME.fullmatch(self.name)
        return found["instance"] if found else self.name


class RoutedPrediction(msgspec.Struct, frozen=True):
    """A score dataset and the route that takes its scores; None where no route does."""

    dataset: ScoreDataset
    route: str | None


class RouteDatasets(msgspec.Struct, frozen=True):
    """A route, the dataset that it writes, and the id or name prefix of its score dataset."""

    route: str
    dataset_id: str = ""
    score_dataset: str = ""


async def score_datasets(
    api: ControlApi, routes: Sequence[RouteDatasets], prefix: str = PREFIX
) -> list[ScoreDataset]:
    """Return the score datasets of the sandbox by name; never one that a route writes."""
    wanted = {each.score_dataset for each in routes if each.score_dataset}
    ours = {each.dataset_id for each in routes}
    found = []
    async for dataset_id, document in _datasets(api):
        name = str(document.get("name") or "")
        named = name.casefold().startswith(prefix.casefold())
        if dataset_id not in ours and (named or _is_wanted(dataset_id, name, wanted)):
            found.append(await _score_dataset(api, dataset_id, name, document))
    return sorted(found, key=lambda each: (each.name, each.id))


def assign(
    datasets: Iterable[ScoreDataset],
    routes: Sequence[RouteDatasets],
    find_route: Callable[[str], str | None],
) -> list[RoutedPrediction]:
    """Return each dataset with its route: by id or prefix, else by the name of its prediction.

    `find_route` returns the name of the route that takes a model, None where none does.
    """
    return [RoutedPrediction(each, _route(each, routes, find_route)) for each in datasets]


def prediction_results(
    predictions: Sequence[RoutedPrediction], routes: Sequence[RouteDatasets]
) -> Iterator[CheckResult]:
    """Yield what is right and what is missing, for each dataset and each route."""
    for prediction in predictions:
        yield _result(prediction)
    taken = {each.route for each in predictions if each.dataset.class_id in ("", PROFILE_CLASS)}
    for route in routes:
        if route.route not in taken:
            yield _without_dataset(route)


async def _datasets(api: ControlApi) -> Any:  # noqa: ANN401  an async iterator of pairs
    """Yield id and document of every dataset; the catalog chooses the size of a page."""
    start = 0
    for _ in range(_MOST_PAGES):
        query = {"limit": str(_PAGE), "start": str(start), "properties": "name,schemaRef"}
        answer = await api.get(f"{_FOUNDATION}/catalog/dataSets", query)
        page = answer.document if isinstance(answer.document, dict) else {}
        for dataset_id, document in page.items():
            if isinstance(document, dict):
                yield dataset_id, document
        if not page:
            return
        start += len(page)


async def _score_dataset(
    api: ControlApi, dataset_id: str, name: str, document: Mapping[str, Any]
) -> ScoreDataset:
    reference = document.get("schemaRef")
    schema_id = reference.get("id") if isinstance(reference, dict) else None
    schema: object = {}
    if schema_id:
        path = f"{_FOUNDATION}/schemaregistry/tenant/schemas/{quote(str(schema_id), safe='')}"
        schema = (await api.get(path, headers=_ACCEPT)).document
    found = schema if isinstance(schema, dict) else {}
    run = await _last_run(api, dataset_id)
    class_id = str(found.get("meta:class") or "")
    return ScoreDataset(dataset_id, name, class_id, tuple(_models(found)), run)


async def _last_run(api: ControlApi, dataset_id: str) -> ScoringRun | None:
    query = {
        "dataSet": dataset_id,
        "createdClient": "acp_foundation_push",
        "status": "success",
        "orderBy": "desc:created",
        "limit": "1",
    }
    answer = await api.get(f"{_FOUNDATION}/catalog/batches", query)
    for batch_id, batch in (answer.document or {}).items():
        metrics = batch.get("metrics") or {}
        rows = metrics.get("outputRecordCount", batch.get("recordCount"))
        return ScoringRun(batch_id, batch.get("completed") or batch.get("created") or 0, rows)
    return None


def _models(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the model objects: `_<tenant>` > `CustomerAI` > model."""
    for tenant, below in _properties(schema).items():
        if tenant.startswith("_"):
            for container, models in _properties(below).items():
                if container.casefold() == _CONTAINER:
                    yield from _properties(models)


def _properties(schema: object) -> Mapping[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _is_wanted(dataset_id: str, name: str, wanted: Iterable[str]) -> bool:
    return any(dataset_id == each or name.startswith(each) for each in wanted)


def _route(
    dataset: ScoreDataset,
    routes: Sequence[RouteDatasets],
    find_route: Callable[[str], str | None],
) -> str | None:
    for route in routes:
        if route.score_dataset and _is_wanted(dataset.id, dataset.name, [route.score_dataset]):
            return route.route
    names = (name for name in (dataset.instance, *dataset.models) if name)
    return next(filter(None, map(find_route, names)), None)


def _result(prediction: RoutedPrediction) -> CheckResult:
    dataset, run, route = prediction.dataset, prediction.dataset.run, prediction.route
    if dataset.class_id not in ("", PROFILE_CLASS):
        sentence = "It is not of class XDM Individual Profile: its scores are not downloaded."
        fix = "Where a route delivers the same prediction, connect only one of the two in CJA."
        return CheckResult(dataset.name, CheckStatus.WARN, sentence, fix)
    if not dataset.class_id:
        sentence = "The class of its schema is not known."
        fix = "Give the credential a role with the permission View Schemas in this sandbox."
        return CheckResult(dataset.name, CheckStatus.WARN, sentence, fix)
    if run is None:
        sentence = "There is no successful batch yet."
        fix = (
            "A first run takes up to 24 hours. In AEP: Services > Customer AI > "
            f"{dataset.instance} shows the last run and its error."
        )
        return CheckResult(dataset.name, CheckStatus.FAIL, sentence, fix)
    if route is None:
        sentence = "No route takes it."
        names = ", ".join((dataset.instance, *dataset.models))
        fix = f"Add a route whose models have one of: {names}."
        return CheckResult(dataset.name, CheckStatus.WARN, sentence, fix)
    rows = "an unknown number of" if run.rows is None else f"{run.rows:,}"
    sentence = f"{rows} rows of {rfc3339(run.completed_ms)} go to the route {route}."
    return CheckResult(dataset.name, CheckStatus.OK, sentence)


def _without_dataset(route: RouteDatasets) -> CheckResult:
    sentence = "No score dataset of Customer AI was found for it in this sandbox."
    fix = (
        "In AEP: Services > Customer AI > Create instance; or look at aep.sandbox_name and the "
        "models of the route."
    )
    return CheckResult(f"route {route.route}", CheckStatus.FAIL, sentence, fix)
