"""How commands begin and end: settings read, problems said plainly, exit codes.

Options that several commands share.
"""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.outcome import Reason, Stage
from processor.settings import Settings
from processor.settings.load import load_settings

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="CAI_CONFIG", help="The settings file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show persons and payloads.")]
Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="May be repeated.")]
Stages = Annotated[list[Stage] | None, typer.Option("--stage", help="May be repeated.")]
Since = Annotated[datetime | None, typer.Option(help="Rejected at or after (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Rejected before (UTC).")]
Origin = Annotated[
    str | None,
    typer.Option(help="topic, topic/partition or topic/partition/first-last."),
]
DEFAULT = Path("settings.yaml")


def settings_from(path: Path) -> Settings:
    """Return the settings, or say in plain sentences what is wrong with them and exit with 2."""
    try:
        return load_settings(path)
    except SettingsError as error:
        wrong(str(path), error)


def wrong(subject: str, error: SettingsError) -> NoReturn:
    """Say what is wrong with settings or arguments, and exit with 2."""
    print(f"{subject} cannot be used:", file=sys.stderr)  # noqa: T201  the face of the command
    for problem in error.problems:
        print(f"  - {problem}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(2)


def finish(command: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its code; what the world denies it is said in one line."""
    try:
        code = command()
    except SettingsError as error:
        wrong("What was asked for", error)
    except UnavailableError as error:
        print(f"Not available: {error}.", file=sys.stderr)  # noqa: T201
        code = 1
    raise typer.Exit(code)
