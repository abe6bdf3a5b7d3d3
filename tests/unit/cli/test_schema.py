"""`schema`: what is printed can be used as it stands."""

import json

import yaml

from processor.cli import schemas as schema
from processor.settings.load import parse_settings
from tests.support.settings import settings_with


def test_the_settings_schema_is_json_schema() -> None:
    printed = json.loads(schema.settings_schema())

    assert printed["$schema"].startswith("https://json-schema.org/")
    assert printed["additionalProperties"] is False


def test_the_reference_is_a_settings_file() -> None:
    assert parse_settings(schema.settings_reference(), {}).routes[0].name == "upgrade"


def test_the_metrics_are_a_table() -> None:
    assert "| `cai_records_settled_total` | counter | topic; outcome: filtered, " in (
        schema.metrics_table()
    )


def test_the_field_group_is_rendered_for_tenant_and_models() -> None:
    group = json.loads(schema.xdm_field_group("acme", ["Churn", "Upgrade"]))
    fields = group["definitions"]["customFields"]["properties"]

    assert list(fields["_acme"]["properties"]["CustomerAI"]["properties"]) == ["Churn", "Upgrade"]
    assert "{" not in json.dumps(list(fields))


def test_the_topics_are_those_of_the_settings() -> None:
    plan = schema.topic_plan(settings_with({"kafka/scores": {"topics": ["a", "b"]}}))

    assert [line.split("`")[1] for line in plan.splitlines()[2:]] == [
        "a",
        "b",
        "experience-events",
        "customer-ai-dead-letters",
        "customer-ai-scores-state",
    ]
    assert "`cleanup.policy=compact`, 3 replicas; created by the processor" in plan
    off = schema.topic_plan(settings_with({"join/enabled": False, "kafka/events": None}))
    assert "any number" in off
    assert "state" not in off


def test_everything_printed_ends_with_a_line() -> None:
    texts = (schema.settings_schema(), schema.settings_reference(), schema.metrics_table())

    assert all(text.endswith("\n") for text in texts)
    assert yaml.safe_load(schema.settings_reference())


def test_the_topics_of_forwarded_events_are_planned() -> None:
    plan = schema.topic_plan(settings_with({"join/repartition_topic": "facts"}))

    assert "| `experience-events` | experience events, keyed in any way | any number |" in plan
    assert "| `facts` | what is kept of experience events | as the scores have |" in plan
