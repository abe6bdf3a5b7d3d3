"""`check --online` against the simulator: what is right, and everything that can be wrong."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer

from processor.cli.check import check
from processor.cli.check_sample import sample_results
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import SystemClock
from processor.domain.record import Record
from processor.http.transport import HttpResponse, TransportFault
from processor.kafka.partitioner import PARTITIONERS
from processor.settings.load import parse_settings
from processor.simulator.aep.faults import read_script
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    CHANGELOG_TOPIC,
    DEAD_LETTER_TOPIC,
    EVENTS_TOPIC,
    REPARTITION_TOPIC,
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.sink.check import inlet_result
from tests.support.registry import FakeRegistry

Simulated = SimulatedEnvironment[AepSimulator]


@pytest.fixture
def environment() -> Iterator[Simulated]:
    with SimulatedEnvironment(AepSimulator(), EnvironmentSettings(partitions=2)) as running:
        yield running


def checked(
    environment: Simulated, folder: Path, **changes: object
) -> tuple[int, dict[str, dict[str, Any]]]:
    tree = environment.settings(folder / "state")
    for path, value in changes.items():
        group, _, key = path.partition("__")
        tree.setdefault(group, {})[key] = value
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with redirect_stdout(io.StringIO()) as output:
        code = check(config, online=True, as_json=True, seconds=1)
    return code, {row["name"]: row for row in json.loads(output.getvalue())}


def test_simulated_environment_passes(environment: Simulated, tmp_path: Path) -> None:
    code, rows = checked(environment, tmp_path)

    assert code == 0
    assert {row["mark"] for row in rows.values()} <= {"ok", "skip"}
    assert rows["access token"]["mark"] == "ok"
    assert rows["inlet of churn"]["mark"] == "ok"
    assert environment.simulator.accepted_events.total() == 0


def test_unavailable_broker_is_reported_in_time(environment: Simulated, tmp_path: Path) -> None:
    code, rows = checked(environment, tmp_path, kafka__bootstrap_servers="127.0.0.1:1")

    assert code == 1
    assert rows["broker"]["mark"] == "fail"
    assert rows["access token"]["mark"] == "ok"


def test_missing_topics_are_reported(environment: Simulated, tmp_path: Path) -> None:
    code, rows = checked(
        environment,
        tmp_path,
        kafka__scores={"topics": ["nowhere"]},
        dead_letter__topic="no-dead-letters",
    )

    assert code == 1
    assert rows["topic nowhere"]["mark"] == "fail"
    assert rows["topic no-dead-letters"]["mark"] == "fail"


def test_different_partition_counts_are_refused(environment: Simulated, tmp_path: Path) -> None:
    environment.broker.create_topic("other-events", 3)

    code, rows = checked(environment, tmp_path, kafka__events={"topics": ["other-events"]})

    assert code == 1
    assert rows["co-partitioning"]["mark"] == "fail"
    assert rows[f"topic {CHANGELOG_TOPIC}"]["mark"] == "fail"


def test_refused_secret_is_reported_and_not_shown(environment: Simulated, tmp_path: Path) -> None:
    auth = {**environment.settings(tmp_path)["aep"]["auth"], "client_secret": "canary-77"}
    aep = {**environment.settings(tmp_path)["aep"], "auth": auth}
    tree = {**environment.settings(tmp_path), "aep": aep}

    code, rows = checked(environment, tmp_path, aep__auth=tree["aep"]["auth"])

    assert code == 1
    assert rows["access token"]["mark"] == "fail"
    assert "canary-77" not in json.dumps(rows)
    assert "inlet of churn" not in rows


def test_registry_is_queried_for_its_subjects(environment: Simulated, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        _, rows = checked(environment, tmp_path, registry__url=registry.url)
    assert rows["registry"]["mark"] == "ok"

    code, rows = checked(environment, tmp_path, registry__url="http://127.0.0.1:1")
    assert code == 1
    assert rows["registry"]["mark"] == "fail"


def test_unavailable_inlet_is_a_warning(environment: Simulated, tmp_path: Path) -> None:
    environment.simulator.faults.add(
        *read_script(b'{"action": "status", "status": 503, "count": 3}')
    )

    code, rows = checked(environment, tmp_path)

    assert code == 0
    assert rows["inlet of churn"]["mark"] == "warn"


def test_newest_records_are_decoded(environment: Simulated, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": environment.broker.bootstrap})
    producer.produce(SCORES_TOPIC, b"{", partition=0)
    producer.produce(EVENTS_TOPIC, None, key=b"k", partition=1)
    assert producer.flush(10) == 0

    code, rows = checked(environment, tmp_path)

    assert code == 0
    assert "Of the newest 2 records 1 would be rejected: malformed 1." in rows["sample"]["sentence"]
    assert rows[f"topic {DEAD_LETTER_TOPIC}"]["mark"] == "ok"


def test_person_on_two_partitions_is_reported(environment: Simulated, tmp_path: Path) -> None:
    settings = parse_settings(yaml.safe_dump(environment.settings(tmp_path)), {})
    event = b"""{"_id": "1", "timestamp": "2026-01-01T00:00:00Z", "eventType": "x",
      "identityMap": {"Email": [{"id": "ann@example.org"}]}}"""
    records = [Record(EVENTS_TOPIC, number, 0, 0, b"k", event) for number in (0, 1)]

    found = {f.name: f for f in sample_results(settings, records, SystemClock())}

    assert found["keys"].mark is CheckStatus.WARN
    assert found["keys"].sentence.startswith("Persons on more than one partition: 1")
    assert "ann" not in str(found)


def test_scores_and_events_without_a_common_person_are_reported(
    environment: Simulated, tmp_path: Path
) -> None:
    tree = {**environment.settings(tmp_path), "identity": {"order": ["Email", "CRMID"]}}
    settings = parse_settings(yaml.safe_dump(tree), {})
    score = b"""{"identityMap": {"Email": [{"id": "ann@example.org"}], "CRMID": [{"id": "C4"}]},
      "prediction": "Churn", "score": 1, "scoreDate": "2026-01-01"}"""
    event = b"""{"_id": "1", "timestamp": "2026-01-01T00:00:00Z", "identityMap": %b}"""
    apart, joined = b'{"CRMID": [{"id": "C4"}]}', b'{"Email": [{"id": "ann@example.org"}]}'

    def keys(*persons: bytes) -> CheckResult:
        records = [
            Record(SCORES_TOPIC, 0, 0, 0, b"k", score.replace(b"Churn", b"Likelihood to churn")),
            *(
                Record(EVENTS_TOPIC, 0, offset, 0, b"k", event % one)
                for offset, one in enumerate(persons)
            ),
        ]
        found = {f.name: f for f in sample_results(settings, records, SystemClock())}
        return found["keys"]

    found = keys(apart)
    assert found.mark is CheckStatus.WARN
    assert "by Email" in found.sentence
    assert "by CRMID" in found.sentence
    assert "identity.order" in str(found)
    assert "ann" not in str(found)
    assert keys().mark is keys(joined, apart).mark is CheckStatus.OK


def test_events_with_another_key_pass_with_a_repartition_topic(tmp_path: Path) -> None:
    with SimulatedEnvironment(
        AepSimulator(), EnvironmentSettings(partitions=2, event_partitions=3)
    ) as environment:
        code, rows = checked(environment, tmp_path)

    assert code == 0
    assert rows["co-partitioning"]["mark"] == "ok"
    assert rows[f"topic {REPARTITION_TOPIC}"]["mark"] == "ok"
    assert rows[f"topic {CHANGELOG_TOPIC}"]["mark"] == "ok"


@pytest.mark.parametrize(
    ("key", "mark"), [(b"ann@example.org", CheckStatus.OK), (b"C4", CheckStatus.FAIL)]
)
def test_scores_must_be_on_the_partition_of_repartitioned_facts(
    key: bytes, mark: CheckStatus
) -> None:
    size = EnvironmentSettings(partitions=64, event_partitions=3)
    with SimulatedEnvironment(AepSimulator(), size) as environment:
        settings = parse_settings(yaml.safe_dump(environment.settings(Path("state"))), {})
    score = b"""{"identityMap": {"Email": [{"id": "ann@example.org"}]}, "prediction": "Likelihood to
      churn", "score": 1, "scoreDate": "2026-01-01"}""".replace(b"\n      ", b" ")
    event = b"""{"_id": "1", "timestamp": "2026-01-01T00:00:00Z", "eventType": "x",
      "identityMap": {"Email": [{"id": "ann@example.org"}]}}"""
    records = [
        Record(SCORES_TOPIC, PARTITIONERS["murmur2"](key, 64), 0, 0, key, score),
        Record(EVENTS_TOPIC, 2, 0, 0, b"any", event),
    ]

    results = sample_results(settings, records, SystemClock(), {SCORES_TOPIC: 64})
    found = {result.name: result for result in results}

    assert found["sample"].mark is found["keys"].mark is CheckStatus.OK
    assert found["repartitioning"].mark is mark
    assert "ann" not in str(found)


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        (HttpResponse(207), CheckStatus.OK),
        (HttpResponse(400), CheckStatus.OK),
        (HttpResponse(401), CheckStatus.FAIL),
        (HttpResponse(403), CheckStatus.FAIL),
        (HttpResponse(404), CheckStatus.FAIL),
        (HttpResponse(301), CheckStatus.FAIL),
        (HttpResponse(429), CheckStatus.WARN),
        (HttpResponse(503), CheckStatus.WARN),
        (TransportFault.DNS, CheckStatus.FAIL),
        (TransportFault.TLS, CheckStatus.FAIL),
        (TransportFault.TIMEOUT, CheckStatus.FAIL),
    ],
)
def test_response_of_an_inlet_is_checked(
    reply: HttpResponse | TransportFault, mark: CheckStatus
) -> None:
    assert inlet_result("inlet", reply).mark is mark
