"""`schema`: what is printed can be used without changes."""

import json
from collections.abc import Callable

import pytest
import yaml

from processor.cli import schemas
from processor.settings.load import parse_settings
from tests.support.settings import MINIMAL, settings_with

Printed = Callable[..., str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Return a function that runs a command and returns its output."""

    def run(command: Callable[..., int], *args: object) -> str:
        assert command(*args) == 0
        return capsys.readouterr().out

    return run


def test_the_settings_schema_is_a_json_schema(printed: Printed) -> None:
    schema = json.loads(printed(schemas.print_settings_schema))

    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["additionalProperties"] is False


def test_the_reference_is_a_settings_file(printed: Printed) -> None:
    text = printed(schemas.print_settings_reference)

    assert yaml.safe_load(text)
    assert parse_settings(text, {}).routes[0].name == "upgrade"


def test_the_metrics_are_a_table(printed: Printed) -> None:
    table = printed(schemas.print_metrics)

    assert "| `cai_records_settled_total` | counter | topic; outcome: filtered, " in table


def test_the_field_group_is_rendered_for_tenant_and_models(printed: Printed) -> None:
    other = {**MINIMAL["routes"][0], "name": "churn", "models": ["Churn"], "dataset_id": "2"}
    settings = settings_with({"routes/0/models": ["Upgrade"], "routes/1": other})

    group = json.loads(printed(schemas.print_field_group, settings))

    fields = group["definitions"]["customFields"]["properties"]
    assert sorted(fields["_acme"]["properties"]["CustomerAI"]["properties"]) == ["Churn", "Upgrade"]
    assert "{" not in json.dumps(list(fields))


def test_the_topics_are_those_of_the_settings(printed: Printed) -> None:
    settings = settings_with({"kafka/scores": {"topics": ["a", "b"]}})

    table = printed(schemas.print_topics, settings)

    assert [line.split("`")[1] for line in table.splitlines()[2:]] == [
        "a",
        "b",
        "experience-events",
        "customer-ai-dead-letters",
        "customer-ai-control",
        "customer-ai-scores-state",
    ]
    assert "`cleanup.policy=compact`, 3 replicas; created by the processor" in table


def test_without_join_there_is_no_state_topic(printed: Printed) -> None:
    settings = settings_with({"join/enabled": False, "kafka/events": None})

    table = printed(schemas.print_topics, settings)

    assert "any number" in table
    assert "state" not in table


def test_the_topics_of_repartitioned_events_are_printed(printed: Printed) -> None:
    table = printed(schemas.print_topics, settings_with({"join/repartition_topic": "facts"}))

    assert "| `experience-events` | experience events, with any key | any number |" in table
    assert "| `facts` | facts of experience events | as many as the scores topics |" in table


def test_everything_printed_ends_with_a_line(printed: Printed) -> None:
    commands = (
        schemas.print_settings_schema,
        schemas.print_settings_reference,
        schemas.print_metrics,
    )

    assert all(printed(command).endswith("\n") for command in commands)
