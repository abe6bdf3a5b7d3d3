"""The commands, and what they have in common."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from processor.cli.check import check_settings
from processor.cli.command import DEFAULT, Config, Json, Reveal, finish, settings_from, wrong
from processor.cli.dead_letters import dlq
from processor.cli.demo import run_demo
from processor.cli.explain import explain_file, explain_place
from processor.cli.run import dry_run_processor, run_processor
from processor.cli.schemas import schema
from processor.cli.simulator import SimulatorOptions, run_simulator
from processor.cli.state import forget, state
from processor.domain.errors import SettingsError

_EXIT_CODES = (
    "[bold]Exit codes[/bold]: 0 all is well; 1 the command found or met problems; 2 settings or "
    "arguments are wrong; 3 the processor stopped itself (too many rejects, or records lost before "
    "they were read); 4 stopped before all that was taken in had settled (it is not committed, and "
    "read again); 70 our own fault; 130 stopped by Ctrl-C, or at once by a second signal."
)

app = typer.Typer(
    help="Customer AI scores from Kafka, as XDM events, into the datasets behind CJA connections.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dlq, name="dlq")
app.add_typer(schema, name="schema")
app.add_typer(state, name="state")
app.command()(forget)


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def run(
    config: Config = DEFAULT,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all but send: events as JSON lines, no commit.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="With --dry-run: the file for them.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --dry-run: stop after so many events.")
    ] = None,
) -> None:
    """Read scores and experience events from Kafka and stream score events to AEP."""
    settings = settings_from(config)
    if dry_run:
        finish(lambda: dry_run_processor(settings, output, limit))
    finish(lambda: run_processor(settings))


@app.command()
def demo(
    *,
    customers: Annotated[int, typer.Option(min=100, help="Persons in the history.")] = 20_000,
    runs: Annotated[int, typer.Option(min=2, help="Weekly scoring runs.")] = 6,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port of the metrics page.")] = 9400,
) -> None:
    """Run it all on this machine: a Kafka broker, an AEP simulator, a scoring history, live."""
    finish(lambda: run_demo(customers=customers, runs=runs, keep=keep, port=port))


@app.command()
def simulator(
    *,
    port: Annotated[int, typer.Option(help="Port of the AEP simulator.")] = 8480,
    partitions: Annotated[int, typer.Option(min=1, help="Of each input topic.")] = 4,
    customers: Annotated[int, typer.Option(help="Put a history of so many in first.")] = 0,
    faults: Annotated[Path | None, typer.Option(help="A fault script, as JSON.")] = None,
    settings_file: Annotated[Path | None, typer.Option(help="Write settings for it here.")] = None,
) -> None:
    """Run a Kafka broker and an AEP simulator to try things on, without an Adobe account."""
    options = SimulatorOptions(
        port=port,
        partitions=partitions,
        customers=customers,
        faults=faults,
        settings_file=settings_file,
    )

    def stay() -> int:
        run_simulator(options, Console())
        return 0

    finish(stay)


@app.command()
def check(
    config: Config = DEFAULT,
    *,
    online: Annotated[bool, typer.Option("--online", help="Ask Kafka, registry, AEP too.")] = False,
    as_json: Json = False,
    seconds: Annotated[float, typer.Option(help="Patience with each of them.")] = 5.0,
) -> None:
    """Say what is wrong with the settings, and with --online with the world they name."""
    finish(lambda: check_settings(config, online=online, as_json=as_json, seconds=seconds))


@app.command()
def explain(
    place: Annotated[str | None, typer.Argument(help="topic/partition/offset of a record.")] = None,
    config: Config = DEFAULT,
    *,
    file: Annotated[Path | None, typer.Option(exists=True, help="A file instead.")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic the file might come from.")] = None,
    reveal: Reveal = False,
) -> None:
    """Show what becomes of one record, step by step; persons are blotted out."""
    settings = settings_from(config)
    if (place is None) == (file is None):
        wrong("explain", SettingsError(["Name a record, or a file with --file, not both."]))
    if file is not None:
        finish(lambda: explain_file(settings, file, topic, reveal=reveal))
    finish(lambda: explain_place(settings, place or "", reveal=reveal))
