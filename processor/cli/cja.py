"""`cja verify`: whether CJA has what the routes deliver, as the reports need it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from processor.adobe.answer import AdobeError
from processor.adobe.cja import ConnectionJudge, Delivered, ExpectedDataset, verify
from processor.adobe.client import AdobeClient
from processor.cli.check import any_failed, print_results
from processor.cli.command import DEFAULT, ExitCode, FromFile, Json, command
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import SystemClock
from processor.domain.errors import UnavailableError
from processor.settings import Settings, TelemetrySettings
from processor.telemetry.catalogue import (
    SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS,
    SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS,
    SCORE_RUN_RECORDS,
)
from processor.telemetry.scrape import MetricSamples, scrape

cja = typer.Typer(no_args_is_help=True, help="Verify the connections that were made in CJA.")


@command(cja, "verify")
def verify_connections(
    settings: FromFile = DEFAULT,
    *,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="URL",
            help="Address of a replica's metrics, which say what was delivered; may be repeated. "
            "By default that of the settings, on this machine.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check that CJA's connections have every dataset, and print what to select where one has not.

    CJA's API only reads connections. Nothing is changed.
    """
    delivered = delivered_by_route(settings, metrics or [_own_page(settings.telemetry)])
    results = cja_results(settings, delivered)
    print_results(results, as_json=as_json)
    return ExitCode.PROBLEMS if any_failed(results) else ExitCode.OK


def cja_results(settings: Settings, delivered: Mapping[str, Delivered | None]) -> list[CheckResult]:
    """Return what CJA's connections have and lack, or why CJA does not say it."""
    try:
        return asyncio.run(_verify(settings, delivered))
    except AdobeError as error:
        return [CheckResult("CJA API", CheckStatus.FAIL, error.sentence, error.fix)]


def delivered_by_route(settings: Settings, urls: Sequence[str]) -> dict[str, Delivered | None]:
    """Return what replicas delivered since they started, by route; None where no page answers.

    The metrics know it by route and time. The committed offsets do not: a record that is settled
    need not be delivered, and a topic has the scores of all routes.
    """
    pages = [page for page in map(_page, urls) if page is not None]
    return {route.name: _delivered(pages, route.name) for route in settings.routes}


async def _verify(
    settings: Settings, delivered: Mapping[str, Delivered | None]
) -> list[CheckResult]:
    clock = SystemClock()
    expected = [
        ExpectedDataset(route.name, route.dataset_id, settings.aep.sandbox_name)
        for route in settings.routes
    ]
    judge = ConnectionJudge(expected, settings.identity.order, clock.now_ms())
    async with AdobeClient(settings.aep, clock) as client:
        return await verify(client, judge, delivered)


def _page(url: str) -> MetricSamples | None:
    try:
        return scrape(url.rstrip("/").removesuffix("/metrics"))
    except UnavailableError:
        return None


def _delivered(pages: Sequence[MetricSamples], route: str) -> Delivered | None:
    if not pages:
        return None
    last, date = (
        max(page.total(metric, route=route) for page in pages)
        for metric in (
            SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS,
            SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS,
        )
    )
    events = sum(page.total(SCORE_RUN_RECORDS, route=route) for page in pages)
    return Delivered(int(events), int(last * 1000), int(date * 1000))


def _own_page(telemetry: TelemetrySettings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(telemetry.host, telemetry.host)  # noqa: S104
    return f"http://[{host}]:{telemetry.port}" if ":" in host else f"http://{host}:{telemetry.port}"
