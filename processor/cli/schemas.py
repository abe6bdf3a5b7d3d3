"""`schema`: what the processor is held to."""

import typer

from processor.cli.ending import settings_from
from processor.cli.options import DEFAULT, Config
from processor.commands import schema as schemas
from processor.enrich.models import model_keys

__all__ = ["schema"]

schema = typer.Typer(no_args_is_help=True, help="Print what the processor is held to.")


@schema.command("xdm")
def schema_xdm(config: Config = DEFAULT) -> None:
    """Print the XDM field group of the events, to POST to AEP's Schema Registry."""
    settings = settings_from(config)
    keys = [key for route in settings.routes for key in model_keys(route)]
    text = schemas.xdm_field_group(settings.event.tenant, keys)
    print(text, end="")  # noqa: T201  the face of the command


@schema.command("topics")
def schema_topics(config: Config = DEFAULT) -> None:
    """Print the Kafka topics these settings need."""
    print(schemas.topic_plan(settings_from(config)), end="")  # noqa: T201


@schema.command("settings")
def schema_settings() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    print(schemas.settings_schema(), end="")  # noqa: T201


@schema.command("reference")
def schema_reference() -> None:
    """Print a settings file with every key, its default and its meaning."""
    print(schemas.settings_reference(), end="")  # noqa: T201


@schema.command("metrics")
def schema_metrics() -> None:
    """Print the catalogue of metrics."""
    print(schemas.metrics_table(), end="")  # noqa: T201
