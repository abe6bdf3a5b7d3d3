"""What can be said of the settings without asking anybody."""

from collections.abc import Callable, Iterator

from processor.clock import SystemClock
from processor.codec.folder import SchemaFolder
from processor.codec.reader import Reader
from processor.codec.sources import schema_source
from processor.enrich.routing import Router
from processor.enrich.validation import compile_schemas
from processor.errors import RejectError, SettingsError
from processor.finding import Finding, Mark
from processor.settings import Settings
from processor.settings.advice import advice
from processor.settings.secrets import read_secret
from processor.shipped import schemas_folder
from processor.sink.address import check as check_addresses

__all__ = ["offline_findings"]


def offline_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what was found: addresses, secrets, schemas, routes, and what deserves a look."""
    for name, sentence, question in _QUESTIONS:
        yield from _asked(name, sentence, question, settings)
    yield from (Finding("advice", Mark.WARN, sentence) for sentence in advice(settings))


def _asked(
    name: str, sentence: str, question: Callable[[Settings], None], settings: Settings
) -> Iterator[Finding]:
    try:
        question(settings)
    except SettingsError as error:
        yield from (Finding(name, Mark.FAIL, problem) for problem in error.problems)
    else:
        yield Finding(name, Mark.OK, sentence)


def _addresses(settings: Settings) -> None:
    check_addresses(settings.aep, settings.routes)


def _client_secret(settings: Settings) -> None:
    auth = settings.aep.auth
    if auth and auth.client_secret_file:
        try:
            read_secret(auth.client_secret_file)
        except SettingsError as error:
            told = [f"aep.auth.client_secret {problem}" for problem in error.problems]
            raise SettingsError(told) from error


def _record_schemas(settings: Settings) -> None:
    SchemaFolder(settings.registry.folder or schemas_folder())
    Reader(settings, schema_source(settings.registry, SystemClock()))


def _routes(settings: Settings) -> None:
    """Compile the schemas, and refuse a route whose models one above it takes by a pattern."""
    router = Router(settings.routes, settings.event.tenant, compile_schemas(settings))
    problems = []
    for route in settings.routes:
        for model in route.models:
            taker = _taker(router, model)
            if taker not in (None, route.name):
                problems.append(f"The route {taker} takes `{model}` before {route.name} is asked.")
    if problems:
        raise SettingsError(problems)


def _taker(router: Router, model: str) -> str | None:
    try:
        return router.find(model).name
    except RejectError:
        return None  # a pattern whose own text is no name of a model


_QUESTIONS: tuple[tuple[str, str, Callable[[Settings], None]], ...] = (
    ("addresses", "Inlets and token service may be talked to.", _addresses),
    ("client secret", "It can be read.", _client_secret),
    ("record schemas", "The schemas that records are read with are in order.", _record_schemas),
    ("routes", "Every route has a schema that fits, and is reached by its models.", _routes),
)
