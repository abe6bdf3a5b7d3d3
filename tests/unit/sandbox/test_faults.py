import msgspec
import pytest

from processor.sandbox.aep.faults import NO_FAULT, Act, Door, Fault, FaultScript, read_script
from tests.support.clock import ManualClock


def test_without_faults_nothing_happens() -> None:
    assert FaultScript().plan(Door.INLET) is NO_FAULT


def test_the_first_match_acts_and_latency_adds_up() -> None:
    script = FaultScript()
    script.add(
        Fault(Act.LATENCY, delay=1.0),
        Fault(Act.LATENCY, delay=0.5),
        Fault(Act.RESET),
        Fault(Act.STATUS),
    )

    plan = script.plan(Door.INLET)

    assert (plan.delay, plan.fault) == (1.5, Fault(Act.RESET))


def test_a_fault_acts_so_often_after_so_many() -> None:
    script = FaultScript()
    script.add(Fault(Act.RESET, skip=1, count=2))

    hits = [script.plan(Door.INLET).fault is not None for _ in range(5)]

    assert hits == [False, True, True, False, False]


def test_a_fault_ends_with_its_time() -> None:
    clock = ManualClock()
    script = FaultScript(clock)
    script.add(Fault(Act.RESET, seconds=10))

    clock.pass_(9.9)
    assert script.plan(Door.INLET).fault is not None
    clock.pass_(0.1)
    assert script.plan(Door.INLET).fault is None
    assert script.active() == []


def test_a_fault_keeps_to_its_door_and_inlet() -> None:
    script = FaultScript()
    script.add(Fault(Act.RESET, inlet_id="a"), Fault(Act.STATUS, on=Door.IMS))

    assert script.plan(Door.INLET, "b").fault is None
    assert script.plan(Door.INLET, "a").fault == Fault(Act.RESET, inlet_id="a")
    assert script.plan(Door.PLATFORM).fault is None
    assert script.plan(Door.IMS).fault == Fault(Act.STATUS, on=Door.IMS)


def test_probability_is_a_share_of_the_requests_and_repeatable() -> None:
    def hits() -> list[bool]:
        script = FaultScript(seed=3)
        script.add(Fault(Act.RESET, probability=0.25))
        return [script.plan(Door.INLET).fault is not None for _ in range(400)]

    assert 70 < sum(hits()) < 130
    assert hits() == hits()


def test_a_share_of_items_is_never_nothing() -> None:
    assert len(FaultScript().refused(0.001, 10)) == 1
    assert FaultScript().refused(1.0, 3) == {0, 1, 2}
    assert FaultScript().refused(0.5, 0) == set()


def test_a_script_is_one_fault_or_a_list() -> None:
    one = read_script(b'{"act": "status", "status": 429, "retry_after": "2"}')
    two = read_script(b'[{"act": "reset"}, {"act": "hang", "on": "ims"}]')

    assert one == [Fault(Act.STATUS, status=429, retry_after="2")]
    assert [fault.on for fault in two] == [Door.INLET, Door.IMS]


def test_a_script_with_an_unknown_word_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        read_script(b'{"act": "reset", "cuont": 1}')
