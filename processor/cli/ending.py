"""How commands begin and end: settings read, problems said plainly, exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer

from processor.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.settings.load import load_settings

__all__ = ["finish", "settings_from", "wrong"]


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
