"""One partition is being restored while the others go on; surplus members are ready."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processor.app import Processor, Telemetry, build_processor
from processor.domain.clock import SystemClock
from processor.kafka.topic_reader import PartitionSlice, TopicReader
from processor.settings import Settings
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.simulator.history.history import history
from tests.support.waiting import until

HELD = 0


class HeldReader(TopicReader):
    """Begins to read partition `HELD` of the changelog once `released` is set."""

    released: threading.Event
    _held = False

    def begin(self, partition: int, offset: int | None) -> None:
        if partition == HELD and not self.released.is_set():
            self._held = True
            return
        super().begin(partition, offset)

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        if self._held and self.released.is_set():
            self._held = False
            super().begin(HELD, None)
        return super().read(seconds)


@pytest.fixture
def environment() -> Iterator[SimulatedEnvironment[AepSimulator]]:
    size = EnvironmentSettings(partitions=2)
    with SimulatedEnvironment(AepSimulator(), size) as running:
        yield running


@contextmanager
def replica(
    environment: SimulatedEnvironment[AepSimulator], folder: Path, **kafka: object
) -> Iterator[tuple[Processor, Telemetry]]:
    """Run a processor on a thread; it must end in order."""
    tree = environment.settings(folder)
    tree["kafka"] |= {"commit_seconds": 0.1, **kafka}
    settings = Settings.model_validate(tree)
    telemetry = Telemetry.create(settings, SystemClock())
    processor = build_processor(settings, telemetry)
    ends: list[bool] = []
    thread = threading.Thread(target=lambda: ends.append(processor.run()))
    thread.start()
    try:
        yield processor, telemetry
    finally:
        processor.stream.stop()
        thread.join(30)
        assert ends == [True]


def test_scores_of_the_other_partitions_are_delivered_while_one_is_restored(
    environment: SimulatedEnvironment[AepSimulator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = HeldReader.released = threading.Event()
    monkeypatch.setattr("processor.state.state_store.TopicReader", HeldReader)
    sizes = environment.history_settings(
        SystemClock().now_ms(), customers=40, runs=2, bad_records=0, repeated=0.0
    )
    events_accepted = environment.simulator.accepted_events
    with replica(environment, tmp_path, group_protocol="consumer") as (_, telemetry):
        feed = environment.feed()
        feed.send(list(history(sizes)))
        until(events_accepted.distinct, seconds=20, what="the first events")
        ready = telemetry.health.ready()
        assert (ready.ok, ready.state) == (False, "restoring")
        (pause,) = ready.paused
        assert (pause.cause, pause.partitions) == ("restoring", 2)
        before = events_accepted.distinct()

        released.set()

        until(lambda: not feed.lag(), seconds=30, what="all is committed", tell=feed.lag)
        feed.close()
        assert events_accepted.distinct() > before
        accepted = events_accepted.events()
        assert len({one.id for one in accepted}) == len(accepted)
        contexts = [one.event()["_acme"]["scoreContext"] for one in accepted]
        assert "partial" not in {context["contextStatus"] for context in contexts}
        until(lambda: telemetry.health.ready().ok, seconds=5, what="it is ready")


def test_a_member_without_partitions_is_ready(
    environment: SimulatedEnvironment[AepSimulator], tmp_path: Path
) -> None:
    classic = {"group_protocol": "classic", "session_timeout_seconds": 6}
    with (
        replica(environment, tmp_path / "a", **classic) as (one, _),
        replica(environment, tmp_path / "b", **classic) as (two, _),
        replica(environment, tmp_path / "c", **classic) as (three, _),
    ):
        members = [one, two, three]
        watches = [each.observer._health for each in members]  # noqa: SLF001  what its page shows

        def states() -> list[str]:
            return sorted(watch.ready().state for watch in watches)

        until(
            lambda: states() == ["idle", "ready", "ready"],
            seconds=40,
            what="all are ready",
            tell=states,
        )
        assert all(watch.ready().ok for watch in watches)
