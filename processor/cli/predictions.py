"""`predictions list`: the score datasets of Customer AI, and which route takes each."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.adobe.answer import AdobeError
from processor.adobe.client import AdobeClient
from processor.adobe.predictions import (
    PREFIX,
    RouteDatasets,
    RoutedPrediction,
    ScoreDataset,
    assign,
    prediction_results,
    score_datasets,
)
from processor.cli.check import any_failed, print_results
from processor.cli.command import DEFAULT, ExitCode, FromPlan, Json, command
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import SystemClock, rfc3339
from processor.domain.errors import RejectError
from processor.enrich.event_schema import compile_schemas
from processor.enrich.routing import Router
from processor.settings import PlannedSettings

predictions = typer.Typer(no_args_is_help=True, help="The predictions of Customer AI.")


@command(predictions, "list")
def list_predictions(
    settings: FromPlan = DEFAULT,
    *,
    prefix: Annotated[
        str, typer.Option(help="How the names of the score datasets begin.", metavar="TEXT")
    ] = PREFIX,
    as_json: Json = False,
) -> int:
    """List the score datasets of the sandbox, their last scoring runs, and what is missing."""
    routes = route_datasets(settings)
    try:
        datasets = asyncio.run(_read(settings, routes, prefix))
    except AdobeError as error:
        refused = CheckResult("AEP API", CheckStatus.FAIL, error.sentence, error.fix)
        _print([], [refused], as_json=as_json)
        return ExitCode.PROBLEMS
    found = assign(datasets, routes, _finder(settings))
    results = list(prediction_results(found, routes))
    _print(found, results, as_json=as_json)
    return ExitCode.PROBLEMS if any_failed(results) else ExitCode.OK


def route_datasets(settings: PlannedSettings) -> list[RouteDatasets]:
    """Return each route with the dataset that it writes and its score dataset, if they are set."""
    return [
        RouteDatasets(route.name, route.dataset_id or "", route.score_dataset or "")
        for route in settings.routes
    ]


async def _read(
    settings: PlannedSettings, routes: Sequence[RouteDatasets], prefix: str
) -> list[ScoreDataset]:
    async with AdobeClient(settings.aep, SystemClock()) as client:
        return await score_datasets(client, routes, prefix)


def _finder(settings: PlannedSettings) -> Callable[[str], str | None]:
    router = Router(settings.routes, settings.event.tenant, compile_schemas(settings))

    def find(model: str) -> str | None:
        try:
            return router.find(model).name
        except RejectError:
            return None

    return find


def _print(
    found: Sequence[RoutedPrediction], results: Sequence[CheckResult], *, as_json: bool
) -> None:
    if as_json:
        rows = [each._asdict() for each in results]
        document = {"predictions": [_row(each) for each in found], "results": rows}
        Console().out(msgspec.json.encode(document).decode(), highlight=False)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("instance", "model", "last run", "rows", "route", "dataset"):
        table.add_column(title, justify="right" if title == "rows" else "left", overflow="fold")
    for each in found:
        table.add_row(*map(_cell, _row(each).values()))
    Console().print(table)
    print_results([each for each in results if each.mark is not CheckStatus.OK], as_json=False)


def _row(prediction: RoutedPrediction) -> dict[str, Any]:
    dataset, run = prediction.dataset, prediction.dataset.run
    return {
        "instance": dataset.instance,
        "models": list(dataset.models),
        "last_run": rfc3339(run.completed_ms) if run else None,
        "rows": run.rows if run else None,
        "route": prediction.route,
        "dataset_id": dataset.id,
    }


def _cell(value: object) -> Text:
    if isinstance(value, list):
        return Text(", ".join(map(str, value)) or "-")
    if isinstance(value, int):
        return Text(f"{value:,}")
    return Text("-" if value is None else str(value))
