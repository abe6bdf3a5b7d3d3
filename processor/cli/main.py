"""The command line: all commands and their help."""

import typer

from processor.cli.check import check
from processor.cli.cja import cja
from processor.cli.command import MEANINGS, command
from processor.cli.control import control, pause_intake, resume_intake, skip_record
from processor.cli.dead_letters import dlq
from processor.cli.demo import demo
from processor.cli.explain import explain
from processor.cli.predictions import predictions
from processor.cli.provision import provision
from processor.cli.run import run
from processor.cli.schemas import schema
from processor.cli.simulator import simulator
from processor.cli.state import forget, state
from processor.cli.status import status

app = typer.Typer(
    help="Streams Customer AI scores from Kafka, as XDM events, into the datasets behind CJA.",
    epilog="Exit codes: " + "; ".join(f"{code:d} {text}" for code, text in MEANINGS.items()) + ".",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _function in (run, demo, simulator, check, explain, forget, status):
    command(app, _function.__name__)(_function)
for _name, _order in (("pause", pause_intake), ("resume", resume_intake), ("skip", skip_record)):
    command(app, _name)(_order)
app.add_typer(cja, name="cja")
app.add_typer(control, name="control")
app.add_typer(dlq, name="dlq")
app.add_typer(predictions, name="predictions")
app.add_typer(provision, name="provision")
app.add_typer(schema, name="schema")
app.add_typer(state, name="state")


def main() -> None:
    """Run the command line."""
    app()
