"""One person whose events make the inlet fail: the whole processor goes on without that person."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from processor.app import Processor, Telemetry, build_processor
from processor.cli.dead_letters import replay_dead_letters
from processor.domain.clock import SystemClock, rfc3339
from processor.domain.errors import InvariantError
from processor.domain.outcome import Outcome, Reason, Stage
from processor.settings import Settings
from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.simulator.history.settings import PREDICTIONS, InputRecord
from processor.sink import worker
from processor.telemetry.catalogue import DEAD_LETTERS, RECORDS_SETTLED
from tests.support.waiting import until

_SCORES, _POISON, _WINDOW = 6_000, 40, 2_000
_DAY_MS = 86_400_000
_RETRY = {
    "first_seconds": 0.05,
    "max_seconds": 0.2,
    "undeliverable_attempts": 3,
    "undeliverable_seconds": 2.0,
    "undeliverable_others": 200,
}


@pytest.fixture
def environment() -> Iterator[SimulatedEnvironment[AepSimulator]]:
    with SimulatedEnvironment(AepSimulator(), EnvironmentSettings(partitions=1)) as environment:
        scored_at = (SystemClock().now_ms() // _DAY_MS - 2) * _DAY_MS
        environment.feed().send([_score(number, scored_at) for number in range(_SCORES)])
        yield environment


def _score(number: int, scored_at_ms: int) -> InputRecord:
    model = PREDICTIONS[0].key
    content = {
        "identityMap": {"ECID": [{"id": _person(number)}]},
        "_acme": {
            "CustomerAI": {
                model: {
                    "score": 82.0,
                    "probability": 0.4,
                    "percentileScore": 92,
                    "scoreDate": rfc3339(scored_at_ms),
                }
            }
        },
    }
    key = _person(number).encode()
    return InputRecord(SCORES_TOPIC, key, json.dumps(content).encode(), scored_at_ms)


def _person(number: int) -> str:
    return f"{number + 1:038d}"


def _settings(environment: SimulatedEnvironment[AepSimulator], folder: Path) -> Settings:
    tree = environment.settings(folder)
    tree["kafka"] |= {"max_uncommitted_records": _WINDOW, "commit_seconds": 0.1}
    tree["kafka"]["group_protocol"] = "consumer"
    tree["stop"] = {"drain_seconds": 0.2}
    tree["aep"]["retry"] = _RETRY
    tree["telemetry"] = {"live_seconds": 60}
    return Settings.model_validate(tree)


class _Run:
    """The processor on a thread, from `start` to `stop`; its metrics are those of this run."""

    def __init__(self, environment: SimulatedEnvironment[AepSimulator], folder: Path) -> None:
        settings = _settings(environment, folder)
        self.telemetry = Telemetry.create(settings, SystemClock())
        self.processor: Processor = build_processor(settings, self.telemetry)
        self._ends: list[bool] = []
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def settled(self, outcome: Outcome) -> float:
        return self.telemetry.metrics.value(RECORDS_SETTLED, SCORES_TOPIC, outcome)

    def stop(self) -> bool:
        """Stop in order; return whether all that was consumed is settled."""
        self.processor.stream.stop()
        self._thread.join(30)
        return self._ends == [True]

    def _work(self) -> None:
        self._ends.append(self.processor.run())


def _poison(environment: SimulatedEnvironment[AepSimulator], action: FaultAction) -> None:
    environment.simulator.add_faults(
        ScriptedFault(action, match=_person(_POISON), item_status=500, status=500)
    )


@pytest.mark.parametrize("action", [FaultAction.ITEMS, FaultAction.STATUS, FaultAction.RESET])
def test_one_event_the_inlet_fails_at_is_dead_lettered_and_all_others_are_delivered(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path, action: FaultAction
) -> None:
    _poison(environment, action)
    with structlog.testing.capture_logs() as log:
        run = _Run(environment, tmp_path)
        until(
            lambda: run.settled(Outcome.DELIVERED) >= _SCORES - 1,
            seconds=30,
            what="all others are settled",
            tell=lambda: f"{run.settled(Outcome.DELIVERED)} are",
        )
        until(lambda: run.settled(Outcome.DEAD_LETTERED) == 1, seconds=5, what="the one, too")
        assert run.stop()

    accepted = environment.simulator.accepted_events
    assert (accepted.distinct(), accepted.total()) == (_SCORES - 1, _SCORES - 1)
    dead = run.telemetry.metrics.value(DEAD_LETTERS, Stage.DELIVER, Reason.UNDELIVERABLE)
    assert dead == 1
    (line,) = [each for each in log if each.get("code") == "event_undeliverable"]
    assert line["record"] == f"{SCORES_TOPIC}/0/{_POISON}"
    listed = [each for each in log if each.get("cause") == "undeliverable" and "ranges" in each]
    assert [each["ranges"] for each in listed] == [f"{SCORES_TOPIC}/0/{_POISON}"]


def test_an_undeliverable_event_is_replayed_once_the_inlet_works_for_it(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path
) -> None:
    _poison(environment, FaultAction.STATUS)
    run = _Run(environment, tmp_path)
    until(lambda: run.settled(Outcome.DEAD_LETTERED) == 1, seconds=30, what="it is refused")
    until(lambda: run.settled(Outcome.DELIVERED) >= _SCORES - 1, seconds=30, what="the others")
    assert run.stop()
    settings, accepted = _settings(environment, tmp_path), environment.simulator.accepted_events
    environment.simulator.clear_faults()

    for _ in range(2):  # the second time it is a duplicate
        assert replay_dead_letters(settings, reason=[Reason.UNDELIVERABLE], send=True) == 0

    assert (accepted.distinct(), accepted.total()) == (_SCORES, _SCORES)
    assert _person(_POISON) in accepted.events()[-1].body.decode()


def test_a_fault_in_the_sinks_thread_lists_all_that_was_sent_and_ends_the_processor(
    environment: SimulatedEnvironment[AepSimulator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "assess", fault)
    settings = _settings(environment, tmp_path)
    processor = build_processor(settings, Telemetry.create(settings, SystemClock()))
    with structlog.testing.capture_logs() as log, pytest.raises(InvariantError):
        processor.run()

    lines = [each for each in log if each.get("code") == "events_in_doubt"]
    accepted = environment.simulator.accepted_events
    assert accepted.total() > 0
    assert sum(each["events"] for each in lines) >= accepted.total()
    assert {each["cause"] for each in lines} == {"stopped"}


def test_each_restart_meanwhile_repeats_no_more_than_the_window_once(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path
) -> None:
    """What is measured: rows of the dataset beyond one for each score, by restart."""
    _poison(environment, FaultAction.ITEMS)
    accepted = environment.simulator.accepted_events
    repeated = []
    for _ in range(2):
        run = _Run(environment, tmp_path)
        before = accepted.total()
        until(
            lambda: accepted.total() - before >= _WINDOW - 1,  # noqa: B023  called at once
            seconds=20,
            what="the window is sent",
        )
        assert not run.stop()
        repeated.append(accepted.total() - accepted.distinct())

    run = _Run(environment, tmp_path)
    until(lambda: run.settled(Outcome.DEAD_LETTERED) == 1, seconds=30, what="the one is refused")
    until(lambda: accepted.distinct() == _SCORES - 1, seconds=30, what="all others are accepted")
    assert run.stop()

    assert repeated[0] == 0
    assert repeated[1] <= _WINDOW + 500
    assert accepted.distinct() == _SCORES - 1
    assert accepted.total() - accepted.distinct() <= 2 * (_WINDOW + 500)
