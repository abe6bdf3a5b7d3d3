"""Liveness and readiness are independent."""

from processor.telemetry.catalogue import READY
from processor.telemetry.health import Health, Pause
from processor.telemetry.labels import PauseCause, State
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock

_SINCE = "2026-11-18T11:00:00Z"
TOPIC_AWAY = Pause(PauseCause.DEAD_LETTERS, "the topic is away", _SINCE, 4)
INLET_AWAY = Pause(PauseCause.DESTINATION, "the inlet is away", _SINCE, 4)


def test_a_replica_is_live_while_its_loop_turns() -> None:
    clock = ManualClock()
    health = Health(Metrics(), clock, live_seconds=60)

    clock.advance(50)
    health.beat()
    clock.advance(60)

    assert health.live().ok
    clock.advance(1)
    assert not health.live().ok
    assert health.live().reason == "The main loop has not turned for 61 s."


def test_wall_time_plays_no_part_in_liveness() -> None:
    clock = ManualClock()
    health = Health(Metrics(), clock, live_seconds=60)

    clock.wall_ms += 10**12

    assert health.live().ok


def test_a_replica_is_ready_once_its_state_is_and_gives_the_reason_until_then() -> None:
    metrics = Metrics()
    health = Health(metrics, ManualClock(), live_seconds=60)

    assert not health.ready().ok
    assert health.ready().state == "starting"
    health.set_state(State.READY, "Ready.")
    assert health.ready().ok
    health.set_state(State.STOPPING, "The processor is stopping.")
    assert not health.ready().ok


def test_a_replica_that_cannot_write_dead_letters_is_not_ready() -> None:
    health = Health(Metrics(), ManualClock(), live_seconds=60)
    health.set_state(State.READY, "Ready.")

    health.set_paused([TOPIC_AWAY, INLET_AWAY])
    assert not health.ready().ok
    assert health.ready().state == "paused"
    assert health.ready().reason == (
        "Intake is paused: dead_letters: the topic is away; destination: the inlet is away."
    )
    health.set_paused([])
    assert health.ready().ok
    assert health.ready().reason == "Ready."


def test_a_destination_that_is_down_leaves_a_replica_ready() -> None:
    health = Health(Metrics(), ManualClock(), live_seconds=60)
    health.set_state(State.READY, "Ready.")

    health.set_paused([INLET_AWAY])

    assert health.ready().ok
    assert health.ready().state == "ready"


def test_a_ready_replica_whose_intake_is_paused_says_what_is_and_since_when() -> None:
    health = Health(Metrics(), ManualClock(), live_seconds=60)
    health.set_state(State.READY, "Ready.")

    health.set_paused([INLET_AWAY])

    assert health.ready().reason == "Intake is paused: destination: the inlet is away."
    assert health.ready().paused == (INLET_AWAY,)


def test_a_member_without_partitions_is_ready() -> None:
    health = Health(Metrics(), ManualClock(), live_seconds=60)

    health.set_state(State.IDLE, "Nothing to do.")

    assert health.ready().ok
    assert health.ready().state == "idle"


def test_the_state_names_when_it_began() -> None:
    clock = ManualClock()
    health = Health(Metrics(), clock, live_seconds=60)
    started = health.ready().since
    clock.advance(90)
    health.set_state(State.RESTORING, "Person state is being restored.")
    began = health.ready().since
    clock.advance(90)

    health.set_state(State.RESTORING, "Person state is being restored, still.")

    assert (started, began) == ("2026-11-18T11:06:40Z", "2026-11-18T11:08:10Z")
    assert health.ready().since == began


def test_exactly_one_state_holds_in_the_metrics() -> None:
    metrics = Metrics()
    health = Health(metrics, ManualClock(), live_seconds=60)

    for state in State:
        health.set_state(state, "A reason.")

        assert [s for s in State if metrics.value(READY, s)] == [state]
