"""`check`: whether the settings are right, and with `--online` whether the systems they name are.

Online checks write nothing and send no event; each system has a time limit.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.adobe.answer import AdobeError
from processor.adobe.client import AdobeClient
from processor.adobe.drift import profile_enabled
from processor.adobe.objects import AepObject, AepObjects, ObjectKind
from processor.adobe.provision import PROFILE_ADVICE
from processor.cli.check_sample import sample_results
from processor.cli.command import DEFAULT_FILE, Json
from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.codec.registry_client import RegistryClient
from processor.codec.schemas import SchemaFolder
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, SystemClock
from processor.domain.errors import RejectError, SettingsError, UnavailableError
from processor.domain.schema_files import schemas_folder
from processor.enrich.event_schema import compile_schemas
from processor.enrich.routing import Router
from processor.http.address import check_addresses
from processor.kafka.cluster_check import KafkaCheck
from processor.settings import RegistrySettings, Settings, TelemetrySettings
from processor.settings.checks import advice
from processor.settings.load import load_settings
from processor.settings.secrets import read_secret, secret_texts
from processor.sink.check import inlet_results
from processor.telemetry.logs import configure_logs

_HTTP_OK = 200
_SIGNS = {
    CheckStatus.OK: Text("ok", "green"),
    CheckStatus.WARN: Text("warning", "yellow"),
    CheckStatus.FAIL: Text("FAIL", "bold red"),
    CheckStatus.SKIP: Text("-", "dim"),
}
_ONLY_ERRORS = TelemetrySettings(log_level="error", log_format="console")


def check(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", envvar="CAI_CONFIG", metavar="FILE", help="The settings file."
        ),
    ] = DEFAULT_FILE,
    *,
    online: Annotated[
        bool, typer.Option("--online", help="Check Kafka, registry, IMS and inlets too.")
    ] = False,
    as_json: Json = False,
    seconds: Annotated[float, typer.Option(help="Time limit for each system.")] = 5.0,
) -> int:
    """Check the settings, and with --online the systems they name."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        print_results(
            [CheckResult(str(config), CheckStatus.FAIL, problem) for problem in error.problems],
            as_json=as_json,
        )
        return 2
    results = [
        CheckResult(str(config), CheckStatus.OK, "The settings are complete and consistent.")
    ]
    results += offline_results(settings)
    if online and not any_failed(results):
        clock = SystemClock()
        configure_logs(_ONLY_ERRORS, clock, secrets=secret_texts(settings))
        results += online_results(settings, clock, seconds)
    print_results(results, as_json=as_json)
    return int(any_failed(results))


def offline_results(settings: Settings) -> Iterator[CheckResult]:
    """Check addresses, secrets, schemas and routes, and yield advice on doubtful settings."""
    for name, sentence, look_at in _OFFLINE_CHECKS:
        try:
            look_at(settings)
        except SettingsError as error:
            yield from (CheckResult(name, CheckStatus.FAIL, problem) for problem in error.problems)
        else:
            yield CheckResult(name, CheckStatus.OK, sentence)
    yield from (CheckResult("advice", CheckStatus.WARN, sentence) for sentence in advice(settings))


def online_results(settings: Settings, clock: Clock, seconds: float) -> Iterator[CheckResult]:
    """Check Kafka, the registry, the newest records, IMS and the inlets."""
    kafka = KafkaCheck(settings, clock, seconds)
    yield from kafka.results()
    yield _registry(settings.registry, seconds)
    yield from sample_results(settings, kafka.sample(), clock, kafka.layout)
    yield from inlet_results(settings.aep, settings.routes, clock, seconds)
    yield from asyncio.run(_datasets(settings, clock, seconds))


async def _datasets(settings: Settings, clock: Clock, seconds: float) -> list[CheckResult]:
    """Return whether the datasets exist, and a warning for each that is enabled for Profile."""
    if settings.aep.auth is None:
        return []
    results = []
    try:
        async with asyncio.timeout(seconds), AdobeClient(settings.aep, clock) as client:
            objects = AepObjects(client)
            for route in settings.routes:
                found = await objects.find(ObjectKind.DATASET, route.dataset_id)
                results.append(_dataset_result(f"dataset of {route.name}", found))
    except (AdobeError, TimeoutError, SettingsError) as error:
        sentence = f"It could not be read: {str(error) or 'no answer in time.'}"
        results.append(CheckResult("datasets", CheckStatus.SKIP, sentence))
    return results


def _dataset_result(name: str, found: AepObject | None) -> CheckResult:
    if found is None:
        fix = "Look at aep.sandbox_name and dataset_id; `provision plan` shows more."
        return CheckResult(name, CheckStatus.FAIL, "It does not exist.", fix)
    if profile_enabled(found.document):
        fix = "Leave Profile off unless it is needed: AEP cannot switch it off for rows it has."
        return CheckResult(name, CheckStatus.WARN, PROFILE_ADVICE, fix)
    return CheckResult(name, CheckStatus.OK, "It exists, and is not enabled for Profile.")


def _client_secret(settings: Settings) -> None:
    auth = settings.aep.auth
    if auth and auth.client_secret_file:
        try:
            read_secret(auth.client_secret_file)
        except SettingsError as error:
            problems = [f"aep.auth.client_secret {problem}" for problem in error.problems]
            raise SettingsError(problems) from error


def _record_schemas(settings: Settings) -> None:
    SchemaFolder(settings.registry.folder or schemas_folder())
    InputReader(settings, schema_source(settings.registry, SystemClock()))


def _routes(settings: Settings) -> None:
    """Compile the schemas, and refuse a route whose models match a pattern of an earlier route."""
    router = Router(settings.routes, settings.event.tenant, compile_schemas(settings))
    problems = []
    for route in settings.routes:
        for model in route.models:
            first = _first_route(router, model)
            if first not in (None, route.name):
                problems.append(f"`{model}` of the route {route.name} goes to the route {first}.")
    if problems:
        raise SettingsError(problems)


def _first_route(router: Router, model: str) -> str | None:
    try:
        return router.find(model).name
    except RejectError:
        return None  # a pattern that is not itself the name of a model


_OFFLINE_CHECKS: tuple[tuple[str, str, Callable[[Settings], None]], ...] = (
    (
        "addresses",
        "Inlets and token service are allowed hosts.",
        lambda settings: check_addresses(settings.aep, settings.routes),
    ),
    ("client secret", "The client secret can be read.", _client_secret),
    ("record schemas", "The schemas of the input records are valid.", _record_schemas),
    ("routes", "Every route has a valid schema and is reached by its models.", _routes),
)


def _registry(settings: RegistrySettings, seconds: float) -> CheckResult:
    if settings.url is None:
        return CheckResult("registry", CheckStatus.SKIP, "None is set; schemas come from files.")
    limit = min(seconds, settings.timeout_seconds)
    bounded = settings.model_copy(update={"timeout_seconds": limit})
    try:
        response = RegistryClient(bounded).get("/subjects")
    except UnavailableError as error:
        fix = "Check registry.url and the network."
        return CheckResult("registry", CheckStatus.FAIL, error.detail, fix)
    if response.status != _HTTP_OK or not isinstance(response.body, list):
        sentence = f"The list of subjects has status {response.status}."
        fix = "Check registry.url and the credentials."
        return CheckResult("registry", CheckStatus.FAIL, sentence, fix)
    sentence = f"It lists {len(response.body)} subjects."
    return CheckResult("registry", CheckStatus.OK, sentence)


def any_failed(results: Iterable[CheckResult]) -> bool:
    """Return whether any check failed."""
    return any(result.mark is CheckStatus.FAIL for result in results)


def print_results(results: Iterable[CheckResult], *, as_json: bool) -> None:
    """Print results to standard output, as a table or as a JSON list."""
    console = Console()
    if as_json:
        rows = [result._asdict() for result in results]
        console.out(msgspec.json.encode(rows).decode(), highlight=False)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for result in results:
        sentence = Text(result.sentence)
        if result.fix and result.mark is not CheckStatus.OK:
            sentence.append(f"\n{result.fix}", "dim")
        table.add_row(_SIGNS[result.mark], Text(result.name), sentence)
    console.print(table)
