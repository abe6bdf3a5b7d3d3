import os
import signal
import threading
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Producer

from processor.cli.simulator import simulator
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.process import AepProcess
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from processor.simulator.environment import (
    EnvironmentSettings,
    SimulatedEnvironment,
    dataset_id,
    flow_id,
    inlet_id,
    slug,
)
from processor.simulator.history.history import history
from processor.simulator.history.settings import PREDICTIONS


def test_the_settings_of_an_environment_are_valid(tmp_path: Path) -> None:
    with SimulatedEnvironment(AepSimulator()) as environment:
        path = environment.write_settings(tmp_path / "settings.yaml", tmp_path / "state")
        settings = Settings.model_validate(yaml.safe_load(path.read_text()))
        assert settings.kafka.bootstrap_servers == environment.broker.bootstrap

    assert [route.name for route in settings.routes] == ["upgrade-account", "churn", "purchase"]
    assert settings.aep.allow_http


def test_scores_events_and_changelog_have_equal_partition_counts() -> None:
    with SimulatedEnvironment(AepSimulator(), EnvironmentSettings(partitions=7)) as environment:
        client = Producer({"bootstrap.servers": environment.broker.bootstrap})
        topics = client.list_topics(timeout=10).topics

    counts = {name: len(topic.partitions) for name, topic in topics.items()}
    assert counts == {
        "customer-ai-scores": 7,
        "experience-events": 7,
        "customer-ai-scores-state": 7,
        "customer-ai-dead-letters": 1,
        "customer-ai-control": 1,
    }


def test_experience_events_may_have_another_partition_count() -> None:
    size = EnvironmentSettings(partitions=3, event_partitions=5)
    with SimulatedEnvironment(AepSimulator(), size) as environment:
        client = Producer({"bootstrap.servers": environment.broker.bootstrap})
        topics = client.list_topics(timeout=10).topics
        settings = Settings.model_validate(environment.settings(Path("state")))

    counts = {name: len(topic.partitions) for name, topic in topics.items()}
    assert counts["experience-events"] == 5
    assert counts["customer-ai-scores"] == counts["customer-ai-scores-facts"] == 3
    assert settings.join.repartition_topic == "customer-ai-scores-facts"


def test_each_prediction_has_a_dataset_with_a_closed_schema() -> None:
    with SimulatedEnvironment(AepSimulator()) as environment:
        account = environment.simulator.organisation

        for prediction in PREDICTIONS:
            flow = account.flows[flow_id(prediction)]
            dataset = account.datasets[dataset_id(prediction)]
            assert (flow.inlet_id, flow.dataset_id) == (inlet_id(prediction), dataset.id)
            assert dataset.schema is not None
            assert dataset.schema["additionalProperties"] is False
            assert slug(prediction) in {"upgrade-account", "churn", "purchase"}


def test_a_history_fits_into_the_topics() -> None:
    with SimulatedEnvironment(AepSimulator()) as environment:
        figures = environment.history_settings(1_795_000_000_000, customers=50, runs=2)
        feed = environment.feed(wait_for_group=False)

        sent = feed.send(history(figures))
        feed.close()

    assert sent == feed.sent["customer-ai-scores"] + feed.sent["experience-events"]
    assert feed.sent["customer-ai-scores"] >= 2 * 50


def test_a_simulator_in_another_process_is_queried_over_http() -> None:
    with SimulatedEnvironment(AepProcess()) as environment:
        aep = environment.simulator
        aep.add_faults(ScriptedFault(FaultAction.RESET))
        aep.clear_faults()
        aep.expire_tokens()

        assert aep.summary()["accepted"] == 0
        assert aep.events() == aep.failed_rows() == []
        assert aep.inlet_url("x").endswith("/collection/x")


def test_a_port_in_use_is_unavailable() -> None:
    with AepSimulator() as first:
        port = int(first.url.rpartition(":")[2])

        with pytest.raises(UnavailableError, match="AEP simulator"):
            AepSimulator(settings=SimulatorSettings(port=port)).start()


def test_the_command_prints_all_addresses_and_ends_on_a_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "settings.yaml"
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        awake = threading.Event()
        while signal.getsignal(signal.SIGINT) is before:
            awake.wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()

    assert simulator(port=0, customers=20, settings_file=path) == 0

    text = capsys.readouterr().out
    assert yaml.safe_load(path.read_text())["kafka"]["bootstrap_servers"] in text
    assert str(path) in text
    assert "records of 20 customers" in text
    assert signal.getsignal(signal.SIGINT) is before


def test_more_customers_than_the_broker_retains_are_refused() -> None:
    with pytest.raises(SettingsError, match="at most"):
        simulator(customers=1_000_000)


def test_an_invalid_fault_script_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text('{"action": "explode"}')

    with pytest.raises(SettingsError, match="fault script"):
        simulator(faults=script)
