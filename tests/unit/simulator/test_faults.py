import msgspec
import pytest

from processor.simulator.aep.faults import (
    NO_FAULT,
    Endpoint,
    FaultAction,
    FaultScript,
    ScriptedFault,
    read_script,
)
from tests.support.clock import ManualClock


def test_without_faults_requests_are_handled_normally() -> None:
    assert FaultScript().plan(Endpoint.INLET) is NO_FAULT


def test_the_first_matching_fault_applies_and_latencies_add_up() -> None:
    script = FaultScript()
    script.add(
        ScriptedFault(FaultAction.LATENCY, delay=1.0),
        ScriptedFault(FaultAction.LATENCY, delay=0.5),
        ScriptedFault(FaultAction.RESET),
        ScriptedFault(FaultAction.STATUS),
    )

    plan = script.plan(Endpoint.INLET)

    assert (plan.delay, plan.fault) == (1.5, ScriptedFault(FaultAction.RESET))


def test_a_fault_applies_count_times_after_skip_requests() -> None:
    script = FaultScript()
    script.add(ScriptedFault(FaultAction.RESET, skip=1, count=2))

    hits = [script.plan(Endpoint.INLET).fault is not None for _ in range(5)]

    assert hits == [False, True, True, False, False]


def test_a_fault_ends_after_its_seconds() -> None:
    clock = ManualClock()
    script = FaultScript(clock)
    script.add(ScriptedFault(FaultAction.RESET, seconds=10))

    clock.advance(9.9)
    assert script.plan(Endpoint.INLET).fault is not None
    clock.advance(0.1)
    assert script.plan(Endpoint.INLET).fault is None
    assert script.active() == []


def test_a_fault_applies_to_its_endpoint_and_inlet() -> None:
    script = FaultScript()
    script.add(
        ScriptedFault(FaultAction.RESET, inlet_id="a"),
        ScriptedFault(FaultAction.STATUS, on=Endpoint.IMS),
    )

    assert script.plan(Endpoint.INLET, "b").fault is None
    assert script.plan(Endpoint.INLET, "a").fault == ScriptedFault(FaultAction.RESET, inlet_id="a")
    assert script.plan(Endpoint.PLATFORM).fault is None
    assert script.plan(Endpoint.IMS).fault == ScriptedFault(FaultAction.STATUS, on=Endpoint.IMS)


def test_probability_is_a_share_of_the_requests_and_repeatable() -> None:
    def hits() -> list[bool]:
        script = FaultScript(seed=3)
        script.add(ScriptedFault(FaultAction.RESET, probability=0.25))
        return [script.plan(Endpoint.INLET).fault is not None for _ in range(400)]

    assert 70 < sum(hits()) < 130
    assert hits() == hits()


def test_a_share_refuses_at_least_one_item() -> None:
    assert len(FaultScript().refused(_items(0.001), [b"{}"] * 10)) == 1
    assert FaultScript().refused(_items(1.0), [b"{}"] * 3) == {0, 1, 2}
    assert FaultScript().refused(_items(0.5), []) == set()


def test_a_script_is_one_fault_or_a_list() -> None:
    one = read_script(b'{"action": "status", "status": 429, "retry_after": "2"}')
    two = read_script(b'[{"action": "reset"}, {"action": "hang", "on": "ims"}]')

    assert one == [ScriptedFault(FaultAction.STATUS, status=429, retry_after="2")]
    assert [fault.on for fault in two] == [Endpoint.INLET, Endpoint.IMS]


def test_a_script_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        read_script(b'{"action": "reset", "cuont": 1}')


def test_a_fault_with_a_text_is_for_the_requests_and_items_that_contain_it() -> None:
    fault = ScriptedFault(FaultAction.ITEMS, match="bad")
    script = FaultScript()
    script.add(fault)

    assert script.by_content
    assert script.plan(Endpoint.INLET, "a", b"all is good").fault is None
    assert script.plan(Endpoint.INLET, "a", b"one is bad").fault == fault
    assert script.refused(fault, [b"good", b"bad", b"good"]) == {1}


def _items(share: float) -> ScriptedFault:
    return ScriptedFault(FaultAction.ITEMS, share=share)
