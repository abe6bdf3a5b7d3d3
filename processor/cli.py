"""The command line: names, options and help. What a command does is in `processor.commands`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from processor.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.settings.load import load_settings

__all__ = ["app", "main"]

_EXIT_CODES = """
[bold]Exit codes[/bold]  0 all is well · 1 the command found or met problems · 2 settings or
arguments are wrong · 3 the processor stopped itself (too many rejects, or records lost before they
were read) · 4 stopped before all that was taken in had settled: uncommitted, so it is read again ·
70 our own fault · 130 stopped at once by a second signal
"""

app = typer.Typer(
    help="Customer AI scores from Kafka, as XDM events, into the datasets behind CJA connections.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dlq = typer.Typer(no_args_is_help=True, help="Look at dead letters, and send them round again.")
schema = typer.Typer(no_args_is_help=True, help="Print schemas: XDM, settings, topics, metrics.")
state = typer.Typer(no_args_is_help=True, help="Look at what is known of persons.")
app.add_typer(dlq, name="dlq")
app.add_typer(schema, name="schema")
app.add_typer(state, name="state")

Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar="CAI_CONFIG", help="The settings file.", show_default=True
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_DEFAULT = Path("settings.yaml")


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def run(
    config: Config = _DEFAULT,
    *,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Do everything but send: print the events as JSON lines, commit nothing.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="With --dry-run: write the events to this file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --dry-run: stop after so many records.")
    ] = None,
) -> None:
    """Read scores and experience events from Kafka and stream score events to AEP."""
    from processor.commands.run import run_processor

    settings = _settings(config)
    if dry_run:
        _end(lambda: dry_run_processor(settings, output=output, limit=limit))
    _end(lambda: run_processor(settings))


@app.command()
def demo(
    *,
    customers: Annotated[int, typer.Option(min=100, help="Persons in the history.")] = 20_000,
    runs: Annotated[int, typer.Option(min=2, help="Weekly scoring runs.")] = 6,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port of the metrics page; 0 picks one.")] = 9400,
) -> None:
    """Run the whole thing on this machine: broker, AEP simulator, a scoring history, live."""
    from processor.commands.demo import run_demo

    _end(lambda: run_demo(customers=customers, runs=runs, keep=keep, port=port))


def _settings(path: Path) -> Settings:
    """Return the settings, or say in plain sentences what is wrong with them and exit with 2."""
    try:
        return load_settings(path)
    except SettingsError as error:
        _wrong(path, error)


def _wrong(path: Path, error: SettingsError) -> NoReturn:
    print(f"{path} cannot be used:", file=sys.stderr)  # noqa: T201  the face of the command
    for problem in error.problems:
        print(f"  - {problem}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(2)


def _end(command: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its code; what the world denies it is said in one line."""
    try:
        code = command()
    except SettingsError as error:
        _wrong(Path("settings"), error)
    except UnavailableError as error:
        print(f"Not available: {error}.", file=sys.stderr)  # noqa: T201
        code = 1
    raise typer.Exit(code)
