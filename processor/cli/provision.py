"""`provision`: the datasets, schema and streaming connections of the routes."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from processor.adobe.answer import AdobeError
from processor.adobe.blueprint import Blueprint, unnamed_models
from processor.adobe.client import AdobeClient
from processor.adobe.objects import AepObjects
from processor.adobe.provision import (
    FLOW_SECONDS,
    Provisioner,
    ProvisionTimes,
    identity_results,
    ready_at,
)
from processor.cli.check import any_failed, print_results
from processor.cli.command import DEFAULT, ExitCode, FromPlan, Json, command
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, SystemClock
from processor.domain.errors import SettingsError
from processor.settings import PlannedRoute, PlannedSettings
from processor.settings.routes_file import (
    ProvisionedRoutes,
    read_routes_file,
    write_routes_file,
)

provision = typer.Typer(
    no_args_is_help=True, help="Make the datasets and streaming connections of the routes in AEP."
)

Adopt = Annotated[
    list[str] | None,
    typer.Option(
        "--adopt", help="Take over the existing object with this id; may be repeated.", metavar="ID"
    ),
]


class _Task(NamedTuple):
    settings: PlannedSettings
    stored: ProvisionedRoutes
    routes: list[PlannedRoute]
    """The routes that are provisioned here; the ids of others are in the settings."""
    adopt: Sequence[str]
    clock: Clock


@command(provision, "plan")
def plan_provision(
    settings: FromPlan = DEFAULT, *, adopt: Adopt = None, as_json: Json = False
) -> int:
    """Read what exists in AEP and print what `provision apply` would make, and what has changed."""
    task = _task(settings, adopt or ())
    results = asyncio.run(_plan(task))
    print_results(results, as_json=as_json)
    return ExitCode.PROBLEMS if any_failed(results) else ExitCode.OK


@command(provision, "apply")
def apply_provision(
    settings: FromPlan = DEFAULT,
    *,
    adopt: Adopt = None,
    wait: Annotated[
        float,
        typer.Option(min=0, help="Seconds after which a new dataflow takes events; 0 = no wait."),
    ] = FLOW_SECONDS,
    as_json: Json = False,
) -> int:
    """Make what is missing, and write complete routes into `routes_file`.

    It may be interrupted and repeated: nothing is made twice, and nothing is ever deleted.
    """
    task = _task(settings, adopt or ())
    if settings.routes_file is None:
        problem = "routes_file is not set: name a file, as in `routes_file: routes.yaml`."
        raise SettingsError([problem])
    results = asyncio.run(_apply(task, wait))
    print_results(results, as_json=as_json)
    return ExitCode.PROBLEMS if any_failed(results) else ExitCode.OK


def _task(settings: PlannedSettings, adopt: Sequence[str]) -> _Task:
    problems = unnamed_models(settings.routes)
    if problems:
        raise SettingsError(problems)
    stored = read_routes_file(settings.routes_file) if settings.routes_file else None
    if stored is None:
        stored = ProvisionedRoutes(
            org_id=settings.aep.org_id,
            sandbox_name=settings.aep.sandbox_name,
            tenant=settings.event.tenant.removeprefix("_"),
        )
    ours = {route.name for route in stored.routes}
    routes = [each for each in settings.routes if each.dataset_id is None or each.name in ours]
    return _Task(settings, stored, routes, adopt, SystemClock())


async def _plan(task: _Task) -> list[CheckResult]:
    try:
        async with AdobeClient(task.settings.aep, task.clock) as client:
            objects = AepObjects(client)
            results = [*_unmanaged(task), *await _identity(task, objects)]
            if not any_failed(results) and task.routes:
                provisioner = _provisioner(task, objects, FLOW_SECONDS)
                results += (await provisioner.plan(task.routes, task.adopt)).results
            return results
    except AdobeError as error:
        return [_refused(error)]


async def _apply(task: _Task, wait: float) -> list[CheckResult]:
    try:
        async with AdobeClient(task.settings.aep, task.clock) as client:
            objects = AepObjects(client)
            results = [*_unmanaged(task), *await _identity(task, objects)]
            if any_failed(results) or not task.routes:
                return results
            provisioner = _provisioner(task, objects, wait)
            plan = await provisioner.apply(task.routes, task.adopt)
            if plan.refused:
                return [*results, *plan.results]
            made = await provisioner.plan(task.routes)
            return [*results, *made.results, await _await_flows(task, provisioner)]
    except AdobeError as error:
        return [_refused(error)]


async def _await_flows(task: _Task, provisioner: Provisioner) -> CheckResult:
    seconds = await provisioner.seconds_until_ready(task.routes)
    if seconds > 0:
        _say(f"New dataflows lose events until {ready_at(task.clock, seconds)}; waiting.")
        await asyncio.sleep(seconds)
    return CheckResult(
        "routes", CheckStatus.OK, f"They are complete in {task.settings.routes_file}: send now."
    )


def _provisioner(task: _Task, objects: AepObjects, flow_seconds: float) -> Provisioner:
    file = task.settings.routes_file

    def save(content: ProvisionedRoutes) -> None:
        if file is not None:
            write_routes_file(file, content)

    return Provisioner(
        objects,
        Blueprint(task.settings.event.tenant, task.routes),
        task.stored,
        save,
        clock=task.clock,
        times=ProvisionTimes(flow_seconds=flow_seconds),
        report=_say,
    )


async def _identity(task: _Task, objects: AepObjects) -> list[CheckResult]:
    aep = task.settings.aep
    found = await objects.tenant()
    return identity_results(aep.org_id, task.settings.event.tenant, found, aep.sandbox_name)


def _unmanaged(task: _Task) -> list[CheckResult]:
    sentence = "Its ids are in the settings, so it was provisioned by hand; it is left alone."
    return [
        CheckResult(f"route {route.name}", CheckStatus.SKIP, sentence)
        for route in task.settings.routes
        if route not in task.routes
    ]


def _refused(error: AdobeError) -> CheckResult:
    return CheckResult("AEP API", CheckStatus.FAIL, error.sentence, error.fix)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201  command output
