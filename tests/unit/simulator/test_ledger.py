from pathlib import Path

import msgspec
import pytest

from processor.simulator.aep.ledger import AcceptedEvents, AcceptStatus

ONE = b'{"_id":"a","score":1}'
OTHER = b'{"_id":"a","score":2}'
TWO = b'{"_id":"b"}'


def filled(keep: AcceptStatus) -> AcceptedEvents:
    ledger = AcceptedEvents(keep)
    ledger.accept("ds", [ONE, TWO], "r1", 10)
    ledger.accept("ds", [ONE, OTHER], "r2", 20)
    ledger.accept("other", [TWO], "r3", 30)
    return ledger


@pytest.mark.parametrize("keep", [AcceptStatus.EVENTS, AcceptStatus.IDS])
def test_accepted_distinct_duplicates_and_changes_are_told_apart(keep: AcceptStatus) -> None:
    ledger = filled(keep)

    assert ledger.datasets() == ["ds", "other"]
    assert (ledger.accepted(), ledger.accepted("ds")) == (5, 4)
    assert (ledger.distinct(), ledger.distinct("ds")) == (2, 2)
    assert ledger.duplicates("ds") == {"a": 3}
    assert ledger.changed("ds") == {"a": 2}
    assert ledger.duplicates("nowhere") == {}


def test_counts_alone_still_show_the_last_event() -> None:
    ledger = filled(AcceptStatus.COUNTS)

    assert ledger.accepted("ds") == 4
    assert ledger.distinct("ds") == 0
    assert [event.body for event in ledger.events("ds")] == [TWO, OTHER]


def test_events_come_back_in_order_with_their_requests() -> None:
    events = filled(AcceptStatus.EVENTS).events("ds")

    assert [event.body for event in events] == [ONE, TWO, ONE, OTHER]
    assert [event.request_id for event in events] == ["r1", "r1", "r2", "r2"]
    assert events[0].digest == events[2].digest != events[3].digest
    assert events[0].event() == {"_id": "a", "score": 1}


def test_events_of_a_cut_request_are_in_doubt() -> None:
    ledger = filled(AcceptStatus.EVENTS)

    ledger.cut("r2")

    assert [event.body for event in ledger.in_doubt()] == [ONE, OTHER]
    assert ledger.cut_requests() == 1


@pytest.mark.parametrize("body", [b"{}", b'{"_id":7}', b'{"_id":null}'])
def test_an_event_without_an_id_is_still_accepted(body: bytes) -> None:
    ledger = AcceptedEvents(AcceptStatus.IDS)

    ledger.accept("ds", [body], "r", 1)

    assert ledger.times("ds") == {"": 1}


def test_the_file_has_one_line_an_event_whatever_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "accepted.ndjson"
    ledger = AcceptedEvents(AcceptStatus.COUNTS, path)
    ledger.accept("ds", [b'{\n "_id": "a"\n}', TWO], "r1", 10)
    ledger.close()

    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]

    assert [line["xdmEntity"]["_id"] for line in lines] == ["a", "b"]
    assert lines[0]["requestId"] == "r1"


def test_clearing_forgets_everything() -> None:
    ledger = filled(AcceptStatus.EVENTS)
    ledger.cut("r1")

    ledger.clear()

    assert (ledger.accepted(), ledger.cut_requests(), ledger.datasets()) == (0, 0, [])
