from pathlib import Path

import msgspec
import pytest

from processor.simulator.aep.accepted_events import AcceptedEvents, Retention

ONE = b'{"_id":"a","score":1}'
OTHER = b'{"_id":"a","score":2}'
TWO = b'{"_id":"b"}'


def filled(retention: Retention) -> AcceptedEvents:
    accepted = AcceptedEvents(retention)
    accepted.add("ds", [ONE, TWO], "r1", 10)
    accepted.add("ds", [ONE, OTHER], "r2", 20)
    accepted.add("other", [TWO], "r3", 30)
    return accepted


@pytest.mark.parametrize("retention", [Retention.EVENTS, Retention.IDS])
def test_accepted_distinct_duplicate_and_changed_events_are_counted(retention: Retention) -> None:
    accepted = filled(retention)

    assert accepted.datasets() == ["ds", "other"]
    assert (accepted.total(), accepted.total("ds")) == (5, 4)
    assert (accepted.distinct(), accepted.distinct("ds")) == (2, 2)
    assert accepted.duplicates("ds") == {"a": 3}
    assert accepted.changed("ds") == {"a": 2}
    assert accepted.duplicates("nowhere") == {}


def test_the_last_events_are_stored_even_if_only_counted() -> None:
    accepted = filled(Retention.COUNTS)

    assert accepted.total("ds") == 4
    assert accepted.distinct("ds") == 0
    assert [event.body for event in accepted.events("ds")] == [TWO, OTHER]


def test_events_are_returned_in_order_with_their_requests() -> None:
    events = filled(Retention.EVENTS).events("ds")

    assert [event.body for event in events] == [ONE, TWO, ONE, OTHER]
    assert [event.request_id for event in events] == ["r1", "r1", "r2", "r2"]
    assert events[0].digest == events[2].digest != events[3].digest
    assert events[0].event() == {"_id": "a", "score": 1}


def test_events_of_a_cut_request_are_in_doubt() -> None:
    accepted = filled(Retention.EVENTS)

    accepted.mark_cut("r2")

    assert [event.body for event in accepted.in_doubt()] == [ONE, OTHER]
    assert accepted.cut_requests() == 1


@pytest.mark.parametrize("body", [b"{}", b'{"_id":7}', b'{"_id":null}'])
def test_an_event_without_an_id_is_still_accepted(body: bytes) -> None:
    accepted = AcceptedEvents(Retention.IDS)

    accepted.add("ds", [body], "r", 1)

    assert accepted.times("ds") == {"": 1}


def test_the_file_has_one_line_an_event_whatever_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "accepted.ndjson"
    accepted = AcceptedEvents(Retention.COUNTS, path)
    accepted.add("ds", [b'{\n "_id": "a"\n}', TWO], "r1", 10)
    accepted.close()

    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]

    assert [line["xdmEntity"]["_id"] for line in lines] == ["a", "b"]
    assert lines[0]["requestId"] == "r1"


def test_clear_deletes_everything() -> None:
    accepted = filled(Retention.EVENTS)
    accepted.mark_cut("r1")

    accepted.clear()

    assert (accepted.total(), accepted.cut_requests(), accepted.datasets()) == (0, 0, [])
