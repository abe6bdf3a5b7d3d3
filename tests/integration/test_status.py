"""`status` against the embedded broker: a replica that runs, one that is dead, a wrong address."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from processor.cli.main import app
from processor.cli.status_facts import Offsets, Progress, eta, judge
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from tests.support.kafka_io import produce
from tests.support.replica import Replica
from tests.support.waiting import until


@pytest.fixture
def environment() -> Iterator[SimulatedEnvironment[AepSimulator]]:
    with SimulatedEnvironment(AepSimulator(), EnvironmentSettings(partitions=1)) as running:
        yield running


@pytest.mark.parametrize(
    ("first", "second", "progress", "seconds"),
    [
        (Offsets(0, 9, 9), Offsets(0, 9, 9), Progress.CAUGHT_UP, 0.0),
        (Offsets(0, 9, 3), Offsets(0, 9, 6), Progress.PROGRESSING, 5.0),
        (Offsets(0, 9, 3), Offsets(0, 99, 6), Progress.SLOW, None),
        (Offsets(0, 9, 3), Offsets(0, 9, 3), Progress.STUCK, None),
        (Offsets(0, 9, None), Offsets(0, 9, None), Progress.STUCK, None),
        (Offsets(0, 9, 9), Offsets(0, 12, 9), Progress.PROGRESSING, None),
        (Offsets(0, None, 3), Offsets(0, 9, 3), Progress.UNKNOWN, None),
    ],
)
def test_progress_is_judged_by_two_looks(
    first: Offsets, second: Offsets, progress: Progress, seconds: float | None
) -> None:
    assert judge(first, second) is progress
    assert eta(first, second, 5.0) == seconds


def test_records_that_kafka_deleted_before_the_commit_are_lost() -> None:
    assert Offsets(8, 10, 5).lost == 3
    assert Offsets(8, 10, 5).lag == 2


def asked(config: Path, *urls: str) -> tuple[int, dict[str, Any]]:
    options = [part for url in urls for part in ("--url", url)]
    arguments = ["status", "--config", str(config), "--seconds", "1", "--json", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, json.loads(result.stdout)


def test_a_running_replica_is_well_and_a_dead_one_is_told_by_kafka(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path
) -> None:
    tree = environment.settings(tmp_path / "state")
    tree["kafka"] |= {"commit_seconds": 0.1, "group_protocol": "consumer"}
    replica = Replica("only", tmp_path, tree)
    config = tmp_path / "settings.yaml"
    url = replica.url
    replica.start()
    try:
        replica.wait_ready()
        produce(environment.broker, SCORES_TOPIC, [b"{"])
        until(lambda: asked(config, url)[0] == 0, seconds=30, what="all is well")
        _, alive = asked(config, url)
    finally:
        replica.kill()
    produce(environment.broker, SCORES_TOPIC, [b"{", b"{"])
    code, dead = asked(config, url)

    assert alive["replicas"][0]["state"] in {"ready", "idle"}
    assert alive["replicas"][0]["last_commit"] is not None
    assert code == 1
    assert dead["replicas"][0]["state"] == "dead"
    (scores,) = [one for one in dead["partitions"] if one["topic"] == SCORES_TOPIC]
    assert (scores["progress"], scores["lag"]) == ("stuck", 2)
    assert 0 < scores["lag_seconds"] < 60
    shown = CliRunner().invoke(app, ["status", "--config", str(config), "--seconds", "1"])
    assert f"{SCORES_TOPIC}/0 is stuck" in shown.output


def test_a_wrong_address_exits_with_2(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path
) -> None:
    replica = Replica("only", tmp_path, environment.settings(tmp_path / "state"))
    config = str(replica.folder / "settings.yaml")

    result = CliRunner().invoke(app, ["status", "--config", config, "--url", "localhost:1"])

    assert result.exit_code == 2
    assert "is not an http address" in result.output
