"""What the commands share: settings from a file, options, errors in plain text, exit codes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.progress import Progress

from processor.components import RecordReader
from processor.domain.clock import Clock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Record
from processor.settings import PlannedSettings, Settings
from processor.settings.load import load_planned_settings, load_settings

_P = ParamSpec("_P")
_SCHEMAS_SECONDS = 0.02


class ExitCode(IntEnum):
    """The exit codes of all commands; `MEANINGS` explains them."""

    OK = 0
    PROBLEMS = 1
    WRONG_SETTINGS = 2
    UNSETTLED = 4
    PROGRAM_ERROR = 70
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "success; `run` was stopped and all its records are settled and committed",
    ExitCode.PROBLEMS: "the command found problems, or something it needs is unavailable",
    ExitCode.WRONG_SETTINGS: "settings or arguments are wrong",
    ExitCode.UNSETTLED: "`run` was stopped before all its records were settled; they are not "
    "committed and will be read again",
    ExitCode.PROGRAM_ERROR: "`run` failed with a program error; nothing more was committed",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C, or `run` by a second signal",
}


def _load(path: str) -> Settings:
    try:
        return load_settings(Path(path))
    except SettingsError as error:
        exit_with(f"{path} cannot be used:", error)


def _load_planned(path: str) -> PlannedSettings:
    try:
        return load_planned_settings(Path(path))
    except SettingsError as error:
        exit_with(f"{path} cannot be used:", error)


DEFAULT_FILE = Path("settings.yaml")
DEFAULT: Any = str(DEFAULT_FILE)
"""Default of a `FromFile` parameter: typer loads it like a value from the command line."""
FromFile = Annotated[
    Settings,
    typer.Option(
        "--config",
        "-c",
        envvar="CAI_CONFIG",
        parser=_load,
        metavar="FILE",
        help="The settings file.",
    ),
]
FromPlan = Annotated[
    PlannedSettings,
    typer.Option(
        "--config",
        "-c",
        envvar="CAI_CONFIG",
        parser=_load_planned,
        metavar="FILE",
        help="The settings file.",
    ),
]
"""For commands that also work before the routes are provisioned."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show personal data, which is redacted otherwise.")
]
Reasons = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only this reason; may be repeated.")
]
Stages = Annotated[
    list[Stage] | None, typer.Option("--stage", help="Only this stage; may be repeated.")
]
Since = Annotated[datetime | None, typer.Option(help="Only rejected at or after this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only rejected before this time (UTC).")]
Origin = Annotated[
    str | None,
    typer.Option(
        help="Only from this topic, topic/partition or topic/partition/first-last.",
        metavar="POSITION",
    ),
]


def command(group: typer.Typer, name: str) -> Callable[[Callable[_P, int]], Callable[_P, int]]:
    """Add the decorated function to a group of commands, under a name.

    The function returns the exit code. SettingsError exits with 2 and UnavailableError with 1, each
    with a message on standard error. The function itself is returned unchanged.
    """

    def add(function: Callable[_P, int]) -> Callable[_P, int]:
        @wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
            try:
                code = function(*args, **kwargs)
            except SettingsError as error:
                exit_with("The command cannot run:", error)
            except UnavailableError as error:
                print(f"Not available: {error}.", file=sys.stderr)  # noqa: T201  command output
                code = ExitCode.PROBLEMS
            raise typer.Exit(code)

        group.command(name)(run)
        return function

    return add


def await_schemas(reader: RecordReader, records: Sequence[Record], clock: Clock) -> None:
    """Wait until the writer schemas of these records are there; raises UnavailableError."""
    while not reader.fetch_schemas(records):
        clock.wait(_SCHEMAS_SECONDS)


def exit_with(headline: str, error: SettingsError) -> NoReturn:
    """Print what is wrong with settings or arguments to standard error, and exit with 2."""
    lines = [headline, *(f"  - {problem}" for problem in error.problems)]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201  command output
    raise typer.Exit(ExitCode.WRONG_SETTINGS)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error; yields a function that takes done and total."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
