"""The score datasets that are read from catalog and schema registry, and who takes them."""

import asyncio
from collections.abc import Iterator

import pytest

from processor.adobe.predictions import (
    RouteDatasets,
    ScoreDataset,
    ScoringRun,
    assign,
    prediction_results,
    score_datasets,
)
from processor.domain.check_result import CheckStatus
from processor.simulator.aep.organisation import PROFILE_CLASS, CatalogBatch, Dataset
from processor.simulator.aep.simulator import AepSimulator
from tests.support.aep_caller import AepCaller, with_dataset
from tests.support.control_api import SimulatorApi

ROUTES = [RouteDatasets("churn", "ds"), RouteDatasets("upgrade", "ds-2", "special")]


def models(*names: str) -> dict[str, object]:
    leaf = {"type": "object", "properties": {"score": {"type": "number"}}}
    container = {"type": "object", "properties": dict.fromkeys(names, leaf)}
    tenant = {"type": "object", "properties": {"CustomerAI": container}}
    return {"type": "object", "properties": {"_acme": tenant, "identityMap": {"type": "object"}}}


def add(
    simulator: AepSimulator, key: str, name: str, *batches: CatalogBatch, event: bool = False
) -> None:
    schema_id = f"https://ns.adobe.com/acme/schemas/{key}"
    dataset = Dataset(key, name, schema_id, schema=models(f"Model{key}"))
    if not event:
        dataset = Dataset(key, name, schema_id, schema=dataset.schema, class_id=PROFILE_CLASS)
    simulator.organisation.add_score_dataset(dataset, *batches)


def batch(key: str, dataset: str, at: int, status: str = "success") -> CatalogBatch:
    return CatalogBatch(key, dataset, at, rows=at * 10, status=status)


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


def read(simulator: AepSimulator) -> list[ScoreDataset]:
    return asyncio.run(score_datasets(SimulatorApi(AepCaller(simulator)), ROUTES))


def test_score_datasets_are_found_by_prefix_and_by_id(simulator: AepSimulator) -> None:
    add(simulator, "a", "Customer AI Scores - Likely to churn")
    add(simulator, "special", "Another name")
    add(simulator, "z", "Web events", event=True)

    found = read(simulator)

    assert [(each.id, each.instance) for each in found] == [
        ("special", "Another name"),
        ("a", "Likely to churn"),
    ]
    assert found[1].class_id == PROFILE_CLASS
    assert found[1].models == ("Modela",)


def test_a_dataset_that_a_route_writes_is_never_a_source(simulator: AepSimulator) -> None:
    add(simulator, "ds-2", "Customer AI Scores - ours", event=True)

    assert read(simulator) == []


def test_the_newest_successful_batch_is_the_last_run(simulator: AepSimulator) -> None:
    add(
        simulator,
        "a",
        "Customer AI Scores - x",
        batch("B1", "a", 1),
        batch("B3", "a", 3),
        batch("B2", "a", 2),
        batch("B4", "a", 4, status="failed"),
    )
    add(simulator, "b", "Customer AI Scores - y")

    found = {each.id: each.run for each in read(simulator)}

    assert found == {"a": ScoringRun("B3", 3, 30), "b": None}


def test_every_page_of_the_catalog_is_read(simulator: AepSimulator) -> None:
    for number in range(230):
        add(simulator, f"n{number}", f"Web {number}", event=True)
    add(simulator, "last", "Customer AI Scores - last")

    assert [each.id for each in read(simulator)] == ["last"]


def test_routes_are_found_by_dataset_then_by_name_then_by_model() -> None:
    datasets = [
        ScoreDataset("special", "Customer AI Scores - x", PROFILE_CLASS),
        ScoreDataset("1", "Customer AI Scores - Likely to churn", PROFILE_CLASS, ("M",)),
        ScoreDataset("2", "Customer AI Scores \u2013 Other", PROFILE_CLASS, ("Churn2",)),
        ScoreDataset("3", "Customer AI Scores - None", PROFILE_CLASS, ("M",)),
    ]
    names = {"Likely to churn": "churn", "Churn2": "churn"}

    found = assign(datasets, ROUTES, names.get)

    assert [each.route for each in found] == ["upgrade", "churn", "churn", None]


def test_what_is_missing_is_said() -> None:
    run = ScoringRun("B", 1_000, 5)
    datasets = [
        ScoreDataset("1", "good", PROFILE_CLASS, ("Churn",), run),
        ScoreDataset("2", "no run", PROFILE_CLASS, ("Churn",)),
        ScoreDataset("3", "no route", PROFILE_CLASS, ("Other",), run),
        ScoreDataset("4", "native events", "https://ns.adobe.com/xdm/x", ("Other",), run),
        ScoreDataset("5", "unknown", "", ("Other",), run),
    ]
    predictions = assign(datasets, ROUTES, {"Churn": "churn"}.get)

    found = {each.name: each for each in prediction_results(predictions, ROUTES)}

    assert {name: each.mark for name, each in found.items()} == {
        "good": CheckStatus.OK,
        "no run": CheckStatus.FAIL,
        "no route": CheckStatus.WARN,
        "native events": CheckStatus.WARN,
        "unknown": CheckStatus.WARN,
        "route upgrade": CheckStatus.FAIL,
    }
    assert "5 rows of 1970-01-01T00:00:01Z go to the route churn" in found["good"].sentence
    assert "24 hours" in found["no run"].fix
    assert "no route, Other" in found["no route"].fix
