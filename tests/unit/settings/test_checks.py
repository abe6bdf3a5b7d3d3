"""Contradictions, one example each, and values that are allowed but doubtful."""

from typing import Any

import pytest

from processor.settings.checks import advice
from tests.support.settings import MINIMAL, problems_of, settings_with

ROUTE = MINIMAL["routes"][0]
OTHER = {**ROUTE, "name": "churn", "models": ["Churn"], "dataset_id": "dataset-2"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"kafka/session_timeout_seconds": 60, "kafka/max_poll_interval_seconds": 60},
        "kafka.session_timeout_seconds must be less than kafka.max_poll_interval_seconds",
    ),
    ({"kafka/poll_records": 5000, "kafka/max_uncommitted_records": 1000}, "must not exceed"),
    ({"kafka/commit_seconds": 30, "kafka/commit_age_limit_seconds": 20}, "commit_age_limit"),
    ({"kafka/group_instance_id": " "}, "kafka.group_instance_id is blank"),
    ({"kafka/client": {"enable.auto.commit": True}}, "`enable.auto.commit` is set by"),
    ({"kafka/client": {"auto.offset.reset": "latest"}}, "`auto.offset.reset` is set by"),
    ({"dead_letter/client": {"acks": 1}}, "dead_letter.client: `acks` is set by"),
    ({"kafka/scores": {"topics": ["^(x"]}}, "kafka.scores.topics: `^(x` is not a regular"),
    ({"kafka/scores": {"topics": ["experience-events"]}}, "both read `experience-events`"),
    ({"kafka/scores": {"topics": ["^exp.*"]}}, "both read `^exp.*`"),
    ({"dead_letter/topic": "customer-ai-scores"}, "which kafka.scores reads"),
    ({"kafka/events": {"topics": ["^.*dead.*"]}}, "which kafka.events reads"),
    ({"join/changelog_topic": "experience-events"}, "join.changelog_topic is"),
    ({"join/changelog_topic": "customer-ai-dead-letters"}, "are the same topic"),
    ({"kafka/scores": {"topics": ["a"], "format": "avro-plain"}}, "schema_name is required"),
    ({"kafka/scores": {"topics": ["a"], "schema_name": "x"}}, "is only used with"),
    ({"routes/1": {**OTHER, "name": "upgrade"}}, "2 routes have the name `upgrade`"),
    ({"routes/1": {**OTHER, "dataset_id": "dataset-1"}}, "2 routes have the dataset_id"),
    (
        {"routes/1": {**OTHER, "models": ["likelihoodToUpgrade-Account"]}},
        "`upgrade` and `churn` both list `likelihoodToUpgrade-Account`",
    ),
    ({"event/bucket_bounds": [75, 25]}, "must be ascending and within 0 to 100"),
    ({"event/bucket_bounds": [25, 125]}, "must be ascending and within 0 to 100"),
    ({"event/bucket_bounds": [0, 50]}, "must be ascending and within 0 to 100"),
    (
        {"event/max_event_bytes": 20_000, "aep/limits/request_bytes": 20_000},
        "must be at least event.max_event_bytes",
    ),
    ({"reading/zone": "Mars/Olympus"}, "is not a time zone"),
    ({"reading/zone": "../../etc/passwd"}, "is not a time zone"),
    ({"reading/aliases": {"scoredate": ["x"]}}, "did you mean scoreDate?"),
    ({"identity/order": ["ECID", "ecid"]}, "names a namespace twice"),
    ({"join/repartition_topic": "experience-events"}, "an output cannot be an input"),
    ({"join/repartition_topic": "customer-ai-scores-state"}, "are the same topic"),
    ({"join/repartition_topic": "x", "join/enabled": False}, "requires join.enabled"),
    ({"join/repartition_topic": "x", "kafka/events": None}, "requires join.enabled"),
    ({"join/repartition_topic": "x", "kafka/partitioner": "any"}, "kafka.partitioner is any"),
    ({"join/keep_days": 10}, "join.keep_days must not be less than join.lookback_days"),
    ({"aep/auth/client_secret_file": "/x"}, "both client_secret and client_secret_file"),
    ({"aep/auth": {"client_id": "x"}}, "neither client_secret nor client_secret_file"),
    ({"registry/username": "x"}, "registry.username is given without"),
    ({"aep/proxy_username": "x"}, "aep.proxy_username is given without"),
    ({"aep/proxy": "http://u:p@proxy:3128"}, "aep.proxy contains a user name"),
    ({"aep/retry/first_seconds": 40}, "aep.retry.first_seconds must not exceed"),
    ({"aep/retry/connect_timeout_seconds": 90}, "connect_timeout_seconds must not exceed"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_contradiction_is_refused(changes: dict[str, Any], message: str) -> None:
    problems = problems_of(changes)

    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"routes/1": OTHER},
        {"kafka/events": None},
        {"aep/auth": None},
        {"join/enabled": False, "join/changelog_topic": "experience-events"},
        {"kafka/client": {"security.protocol": "SASL_SSL", "sasl.password": "x"}},
    ],
)  # fmt: skip
def test_consistent_settings_are_accepted(changes: dict[str, Any]) -> None:
    assert problems_of(changes) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop/drain_seconds": 60}, "A stop may take 68 s"),
        ({"stop/drain_seconds": 20, "kafka/group_instance_id": "a",
          "kafka/session_timeout_seconds": 10}, "A static member"),
        ({"aep/limits/messages_per_second": 20_000}, "above the limits of one inlet"),
        ({"aep/auth": None}, "aep.auth is not set"),
        ({"telemetry/host": "0.0.0.0"}, "open to the network"),  # noqa: S104  the point
    ],
)  # fmt: skip
def test_doubtful_settings_lead_to_advice(changes: dict[str, Any], message: str) -> None:
    given = list(advice(settings_with(changes)))

    assert len(given) == 1
    assert message in given[0]


def test_good_settings_lead_to_no_advice() -> None:
    assert list(advice(settings_with())) == []
