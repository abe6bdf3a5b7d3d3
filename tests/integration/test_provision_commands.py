"""`provision` as its users run it: an empty sandbox, one command, and the processor sends."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from processor.app import Telemetry, build_processor
from processor.cli.main import app
from processor.domain.clock import SystemClock, rfc3339
from processor.settings.load import load_settings
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from processor.simulator.environment import (
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.simulator.history.settings import PREDICTIONS, InputRecord
from tests.support.waiting import until

Simulated = SimulatedEnvironment[AepSimulator]
_DAY_MS = 86_400_000
_RUNNER = CliRunner()


@pytest.fixture
def environment() -> Iterator[Simulated]:
    """A broker and an empty sandbox in which a new dataflow loses events for 0.6 seconds."""
    simulator = AepSimulator(settings=SimulatorSettings(time_scale=0.002, page_size=2))
    with SimulatedEnvironment(simulator, EnvironmentSettings(predictions=())) as running:
        yield running


@pytest.fixture
def config(environment: Simulated, tmp_path: Path) -> Path:
    tree = environment.settings(tmp_path / "state")
    tree["routes"] = [
        {"name": f"route-{number}", "models": [prediction.name]}
        for number, prediction in enumerate(PREDICTIONS)
    ]
    tree["routes_file"] = "routes.yaml"
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    done = _RUNNER.invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.output


def change(config: Path, section: str, **values: Any) -> None:  # noqa: ANN401  settings
    tree = yaml.safe_load(config.read_text())
    tree[section] |= values
    config.write_text(yaml.safe_dump(tree))


def scores(count: int) -> list[InputRecord]:
    scored_at_ms = (SystemClock().now_ms() // _DAY_MS - 1) * _DAY_MS
    return [_score(number, scored_at_ms) for number in range(count)]


def _score(number: int, scored_at_ms: int) -> InputRecord:
    person = f"{number + 1:038d}"
    model = {"score": 82.0, "probability": 0.4, "scoreDate": rfc3339(scored_at_ms)}
    content = {
        "identityMap": {"ECID": [{"id": person}]},
        "_acme": {"CustomerAI": {PREDICTIONS[number % len(PREDICTIONS)].key: model}},
    }
    return InputRecord(SCORES_TOPIC, person.encode(), json.dumps(content).encode(), scored_at_ms)


def test_run_refuses_routes_that_are_not_provisioned(config: Path) -> None:
    code, output = run("run", "-c", config)

    assert code == 2
    assert "The route route-0 is not provisioned: run `provision apply`" in output


@pytest.mark.slow
def test_an_empty_sandbox_is_provisioned_and_the_processor_sends(
    environment: Simulated, config: Path, tmp_path: Path
) -> None:
    code, output = run("provision", "plan", "-c", config)
    assert code == 0, output
    assert "is to be created" in output

    code, output = run("provision", "apply", "-c", config, "--wait", "0.6")
    assert code == 0, output
    assert "send now" in output
    before = (tmp_path / "routes.yaml").read_text()
    assert "simulator-secret" not in before
    code, output = run("provision", "apply", "-c", config, "--wait", "0.6")
    assert (code, (tmp_path / "routes.yaml").read_text()) == (0, before)

    environment.feed(wait_for_group=False).send(scores(300))
    delivered_all(environment, config, 300)

    assert environment.simulator.failed_rows() == []
    assert environment.simulator.summary()["dropped"] == 0


def delivered_all(environment: Simulated, config: Path, count: int) -> None:
    settings, clock = load_settings(config), SystemClock()
    telemetry = Telemetry.create(settings, clock)
    processor = build_processor(settings, telemetry)
    thread = threading.Thread(target=processor.run)
    thread.start()
    try:
        until(
            lambda: environment.simulator.accepted_events.total() >= count,
            seconds=30,
            what="all scores are delivered",
        )
    finally:
        processor.stream.stop()
        thread.join(30)
    assert environment.simulator.accepted_events.total() == count


def test_apply_needs_a_file_for_the_routes(config: Path) -> None:
    tree = yaml.safe_load(config.read_text())
    del tree["routes_file"]
    config.write_text(yaml.safe_dump(tree))

    code, output = run("provision", "apply", "-c", config)

    assert code == 2
    assert "routes_file" in output


@pytest.mark.parametrize(
    ("section", "values", "sentence"),
    [
        ("event", {"tenant": "other"}, "The tenant of this organisation is acme, not other"),
        ("aep", {"sandbox_name": "other"}, "The credential has no permission in AEP (403)"),
    ],
)
def test_another_tenant_or_sandbox_is_said_before_anything_is_made(
    environment: Simulated, config: Path, section: str, values: dict[str, str], sentence: str
) -> None:
    change(config, section, **values)

    code, output = run("provision", "apply", "-c", config)

    assert code == 1
    assert sentence in " ".join(output.split())
    assert environment.simulator.organisation.datasets == {}


def test_a_routes_file_of_another_sandbox_is_refused(config: Path) -> None:
    run("provision", "apply", "-c", config, "--wait", "0")
    change(config, "aep", sandbox_name="dev")

    code, output = run("provision", "plan", "-c", config)

    assert code == 2
    assert "is of the sandbox prod, the settings are of dev" in output


def test_drift_is_exit_code_1_and_in_the_json(environment: Simulated, config: Path) -> None:
    run("provision", "apply", "-c", config, "--wait", "0")
    (flow, *_) = environment.simulator.organisation.flows
    environment.simulator.flow_service.disable(flow)

    code, output = run("provision", "plan", "-c", config, "--json")

    failed = [each for each in json.loads(output) if each["mark"] == "fail"]
    assert code == 1
    assert [each["name"] for each in failed] == ["dataflow of route-0"]
    assert "Enable" in failed[0]["fix"]


def test_check_warns_where_a_dataset_is_enabled_for_profile(
    environment: Simulated, config: Path
) -> None:
    run("provision", "apply", "-c", config, "--wait", "0")
    (dataset, *_) = environment.simulator.organisation.datasets
    environment.simulator.catalog.change(dataset, tags={"unifiedProfile": ["enabled:true"]})

    _, output = run("check", "-c", config, "--online", "--json")

    marks = {each["name"]: each["mark"] for each in json.loads(output)}
    assert marks["dataset of route-0"] == "warn"
    assert marks["dataset of route-1"] == "ok"
