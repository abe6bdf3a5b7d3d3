"""A fault of the program at any place: what may be in a dataset twice is listed, nothing committed.

The events that were accepted or are in doubt, and whose records are not committed, are read and
sent again by whoever is next.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import structlog

from processor.domain.record import Record
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record


class FaultError(Exception):
    """A fault of the program."""


def fault(*_: object, **__: object) -> Any:  # noqa: ANN401
    raise FaultError


def _accepted_and_unsettled() -> StreamRun:
    """Return a run whose first batch is accepted, and waits for its dead letter."""
    bad = Record(SCORES, 0, 12, NOW_MS, None, b"{")
    run = StreamRun([[score_record(10), score_record(11, person=2), bad]])
    run.dead_letters.slow = True
    run.start()
    run.stream.run_once()
    run.clock.advance(1)
    assert [event.record.offset for event in run.sink.accepted] == [10, 11]
    run.source.add([score_record(13, person=3)])
    return run


_PLACES: Mapping[str, Callable[[StreamRun], tuple[object, str]]] = {
    "poll": lambda run: (run.source, "poll"),
    "read": lambda run: (run.reader, "read"),
    "load": lambda run: (run.state_store, "load"),
    "stage": lambda run: (run.state_store, "stage"),
    "repartition": lambda run: (run.repartition, "send"),
    "deliver": lambda run: (run.sink, "deliver"),
    "planned": lambda run: (run.observer, "batch_planned"),
    "dead letters": lambda run: (run.dead_letters, "poll"),
    "state": lambda run: (run.state_store, "poll"),
    "commit": lambda run: (run.source, "commit"),
    "turn": lambda run: (run.observer, "loop_turned"),
    "control": lambda run: (run.control, "poll"),
    "pauses": lambda run: (run.control, "items"),
    "planner's decode": lambda run: (run.stream._planner, "decode"),  # noqa: SLF001
    "planner's plan": lambda run: (run.stream._planner, "plan"),  # noqa: SLF001
    "schemas": lambda run: (run.reader, "fetch_schemas"),
    "limit": lambda run: (run.dead_letters.limit, "check"),
    "repartition's poll": lambda run: (run.repartition, "poll"),
    "restore": lambda run: (run.state_store, "ready"),
    "withheld": lambda run: (run.sink, "set_window_full"),
    "status": lambda run: (run.observer, "status_checked"),
}


@pytest.mark.parametrize("place", _PLACES)
def test_a_fault_lists_what_was_accepted_and_commits_nothing(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _accepted_and_unsettled()
    monkeypatch.setattr(*_PLACES[place](run), fault)

    lines = _failing(run)

    assert f"{SCORES}/0/10-11" in _listed(lines, "uncommitted")
    assert run.source.committed == {}
    assert run.steps[-1] == ("left",)


@pytest.mark.parametrize("place", ["settle", "batch_settled", "store"])
def test_a_fault_while_a_batch_is_settled_lists_it(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StreamRun([[score_record(10), score_record(11, person=2)]])
    owner = {"settle": run.source, "store": run.state_store}.get(place, run.observer)
    monkeypatch.setattr(owner, place, fault)

    lines = _failing(run)

    assert _listed(lines, "uncommitted") == [f"{SCORES}/0/10-11"]
    assert run.source.committed == {}


@pytest.mark.parametrize("call", ["assigned", "drain", "revoked"])
def test_a_fault_in_a_rebalance_lists_what_was_accepted_and_commits_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _accepted_and_unsettled()

    def rebalance(seconds: float) -> None:
        del seconds
        monkeypatch.setattr(run.state_store, {"assigned": "assign"}.get(call, "revoke"), fault)
        monkeypatch.setattr(run.dead_letters, "poll", fault)
        getattr(run.stream, call)(sorted(run.source.group))

    monkeypatch.setattr(run.source, "poll", rebalance)

    assert f"{SCORES}/0/10-11" in _listed(_failing(run), "uncommitted")
    assert run.source.committed == {}
    assert run.steps[-1] == ("left",)


def test_ctrl_c_in_the_loop_lists_what_was_accepted_and_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = _accepted_and_unsettled()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.source, "poll", interrupted)

    with structlog.testing.capture_logs() as lines, pytest.raises(KeyboardInterrupt):
        run.processor.run()

    assert f"{SCORES}/0/10-11" in _listed(lines, "uncommitted")
    assert run.steps[-1] == ("left",)


@pytest.mark.parametrize(
    ("part", "call"), [("sink", "start"), ("source", "start"), ("control", "poll")]
)
def test_a_fault_at_the_start_closes_all_parts_and_lists_nothing(
    part: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StreamRun([[score_record(10)]])
    monkeypatch.setattr(getattr(run, part), call, fault)
    closed: list[str] = []
    parts = ("sink", "state_store", "repartition", "control", "dead_letters")
    for one in parts:
        monkeypatch.setattr(getattr(run, one), "close", _noting(closed, one, fails=False))

    lines = _failing(run)

    assert closed == list(parts)
    assert _listed(lines, "uncommitted") == []
    assert run.steps[-1] == ("left",)


def test_a_fault_right_after_a_batch_was_handed_over_lists_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = StreamRun([[score_record(10)]])
    run.sink.slow = True
    monkeypatch.setattr(run.observer, "batch_planned", fault)

    lines = _failing(run)

    assert _listed(lines, "stopped") == [f"{SCORES}/0/10"]


@pytest.mark.parametrize("part", ["sink", "state_store", "repartition", "dead_letters"])
def test_a_part_that_cannot_be_closed_does_not_keep_the_others_from_it(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _accepted_and_unsettled()
    monkeypatch.setattr(run.reader, "read", fault)
    closed: list[str] = []
    for one in ("sink", "state_store", "repartition", "dead_letters"):
        monkeypatch.setattr(getattr(run, one), "close", _noting(closed, one, fails=one == part))

    lines = _failing(run)

    assert closed == ["sink", "state_store", "repartition", "dead_letters"]
    assert _listed(lines, "uncommitted") == [f"{SCORES}/0/10-11"]
    assert run.steps[-1] == ("left",)


def test_a_fault_while_the_sink_closes_at_a_stop_lists_what_is_unsettled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = _accepted_and_unsettled()
    monkeypatch.setattr(run.sink, "close", fault)
    run.stream.stop()

    lines = _failing(run)

    assert _listed(lines, "uncommitted") == [f"{SCORES}/0/10-11"]


def test_what_was_committed_before_a_fault_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    for _ in range(3):
        run.stream.run_once()
    assert run.source.committed == {(SCORES, 0): 11}
    monkeypatch.setattr(run.source, "poll", fault)

    assert _listed(_failing(run), "uncommitted") == []


def _noting(closed: list[str], part: str, *, fails: bool) -> Callable[[float], bool]:
    def close(seconds: float) -> bool:
        assert seconds >= 0
        closed.append(part)
        if fails:
            raise FaultError
        return True

    return close


def _failing(run: StreamRun) -> Sequence[Mapping[str, Any]]:
    """Run until the fault; return the log lines."""
    with structlog.testing.capture_logs() as lines, pytest.raises(FaultError):
        run.processor.run()
    return lines


def _listed(lines: Sequence[Mapping[str, Any]], cause: str) -> list[str]:
    return [
        line["ranges"]
        for line in lines
        if line["code"] == "events_in_doubt" and line["cause"] == cause
    ]
