"""`schema`: print the formats the processor uses, for editors, dashboards, AEP and topics."""

from collections.abc import Iterator

import msgspec
import typer

from processor.cli.command import DEFAULT, FromFile, command
from processor.enrich.event_schema import model_keys, render_field_group
from processor.settings import Settings
from processor.settings.describe import editor_schema, reference
from processor.telemetry.tables import metric_table

schema = typer.Typer(no_args_is_help=True, help="Print schemas, topics, settings and metrics.")


@command(schema, "xdm")
def print_field_group(settings: FromFile = DEFAULT) -> int:
    """Print the XDM field group of the events, to POST to AEP's Schema Registry."""
    keys = [key for route in settings.routes for key in model_keys(route)]
    group = render_field_group(settings.event.tenant, keys)
    return _print(msgspec.json.format(msgspec.json.encode(group), indent=2).decode() + "\n")


@command(schema, "topics")
def print_topics(settings: FromFile = DEFAULT) -> int:
    """Print the Kafka topics that the settings require, as Markdown."""
    head = "| Topic | For | Partitions | Settings |\n| --- | --- | --- | --- |\n"
    return _print(head + "".join(f"| {' | '.join(row)} |\n" for row in _topics(settings)))


@command(schema, "settings")
def print_settings_schema() -> int:
    """Print the JSON Schema of the settings file, for editors."""
    return _print(editor_schema())


@command(schema, "reference")
def print_settings_reference() -> int:
    """Print a settings file with every key, its default and its meaning."""
    return _print(reference())


@command(schema, "metrics")
def print_metrics() -> int:
    """Print the catalogue of metrics, as Markdown."""
    return _print(metric_table())


def _print(text: str) -> int:
    print(text, end="")  # noqa: T201  command output
    return 0


def _topics(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    kafka, join = settings.kafka, settings.join
    repartitioned = join.repartition_topic is not None
    equal = "as many as the other inputs" if kafka.events and not repartitioned else "any number"
    for topic in kafka.scores.topics:
        partitions = "any number, the same for all scores topics" if repartitioned else equal
        needs = "retention longer than the longest outage"
        yield f"`{topic}`", "scores, keyed by person", partitions, needs
    for topic in kafka.events.topics if kafka.events else ():
        key = "with any key" if repartitioned else "with the same key"
        yield f"`{topic}`", f"experience events, {key}", equal, "the same"
    needs = "`retention.ms` as privacy requires, `max.message.bytes` above that of the inputs"
    yield f"`{settings.dead_letter.topic}`", "dead letters", "any number", needs
    created = "created by the processor" if join.create_changelog else "to be created"
    needs = f"`cleanup.policy=compact`, {join.changelog_replication} replicas; {created}"
    yield f"`{kafka.control_topic}`", "pauses, skips, layout of the topics", "1", needs
    if join.enabled:
        equal = "as many as the scores topics" if repartitioned else "as many as the inputs"
        yield f"`{join.changelog_topic}`", "person state", equal, needs
        if repartitioned:
            needs = needs.replace("compact", "delete")
            yield f"`{join.repartition_topic}`", "facts of experience events", equal, needs
