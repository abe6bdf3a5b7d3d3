"""`schema`: what the processor is held to.

`schema`: print what is generated from the code, for editors, dashboards, AEP and topics.
"""

from collections.abc import Iterable, Iterator

import msgspec
import typer

from processor.cli.command import DEFAULT, Config, settings_from
from processor.enrich.event_schema import model_keys, render_field_group
from processor.settings import Settings
from processor.settings.describe import editor_schema, reference
from processor.telemetry.catalogue import metric_table

_LETTERS = "`retention.ms` as privacy asks, `max.message.bytes` above that of the inputs"


def settings_schema() -> str:
    """Return the JSON Schema of the settings file."""
    return editor_schema()


def settings_reference() -> str:
    """Return a settings file with every key, its default and its meaning."""
    return reference()


def metrics_table() -> str:
    """Return the catalogue of metrics as a Markdown table."""
    return metric_table()


def topic_plan(settings: Settings) -> str:
    """Return the topics these settings need, with what each must be, as Markdown."""
    head = "| Topic | For | Partitions | Settings |\n| --- | --- | --- | --- |\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in _topics(settings))


def _topics(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    kafka, join = settings.kafka, settings.join
    repartitioned = join.repartition_topic is not None
    alike = "as many as the other inputs" if kafka.events and not repartitioned else "any number"
    keyed = "keyed in any way" if repartitioned else "keyed alike"
    for topic in kafka.scores.topics:
        yield (
            f"`{topic}`",
            "scores, keyed by person",
            "any number, all alike" if repartitioned else alike,
            "retention above the longest outage",
        )
    for topic in kafka.events.topics if kafka.events else ():
        yield f"`{topic}`", f"experience events, {keyed}", alike, "likewise"
    dead_letters = settings.dead_letter.topic
    yield (
        f"`{dead_letters}`",
        "dead letters",
        "any number",
        _LETTERS,
    )
    if join.enabled:
        made = "created by the processor" if join.create_changelog else "to be created"
        like = "as the scores have" if repartitioned else "as the inputs have"
        needs = f"`cleanup.policy=compact`, {join.changelog_replication} replicas; {made}"
        yield f"`{join.changelog_topic}`", "what is known of persons", like, needs
        if repartitioned:
            needs = f"`cleanup.policy=delete`, {join.changelog_replication} replicas; {made}"
            topic = f"`{join.repartition_topic}`"
            yield topic, "what is kept of experience events", like, needs


def xdm_field_group(tenant: str, model_keys: Iterable[str]) -> str:
    """Return the XDM field group of score events, ready for AEP's Schema Registry."""
    group = render_field_group(tenant, model_keys)
    return msgspec.json.format(msgspec.json.encode(group), indent=2).decode() + "\n"


schema = typer.Typer(no_args_is_help=True, help="Print what the processor is held to.")


@schema.command("xdm")
def schema_xdm(config: Config = DEFAULT) -> None:
    """Print the XDM field group of the events, to POST to AEP's Schema Registry."""
    settings = settings_from(config)
    keys = [key for route in settings.routes for key in model_keys(route)]
    text = xdm_field_group(settings.event.tenant, keys)
    print(text, end="")  # noqa: T201  the face of the command


@schema.command("topics")
def schema_topics(config: Config = DEFAULT) -> None:
    """Print the Kafka topics these settings need."""
    print(topic_plan(settings_from(config)), end="")  # noqa: T201


@schema.command("settings")
def schema_settings() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    print(settings_schema(), end="")  # noqa: T201


@schema.command("reference")
def schema_reference() -> None:
    """Print a settings file with every key, its default and its meaning."""
    print(settings_reference(), end="")  # noqa: T201


@schema.command("metrics")
def schema_metrics() -> None:
    """Print the catalogue of metrics."""
    print(metrics_table(), end="")  # noqa: T201
