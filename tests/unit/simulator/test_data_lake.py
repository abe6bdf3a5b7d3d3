import json

import msgspec
import pytest

from processor.simulator.aep.data_lake import DataLake, Row
from processor.simulator.aep.envelope import read_message
from processor.simulator.aep.organisation import Dataset
from tests.support.aep_caller import CLOSED, message, row
from tests.support.clock import ManualClock


def new_lake(clock: ManualClock | None = None, every: int = 1) -> DataLake:
    lake = DataLake(clock or ManualClock(), every)
    lake.register(Dataset("ds", "Scores", "schema", schema=CLOSED))
    return lake


def rows(*numbers: int, **more: object) -> list[Row]:
    return [
        Row(read_message(json.dumps(message(row(number, **more))).encode())) for number in numbers
    ]


def test_valid_rows_lead_to_no_failed_batch() -> None:
    lake = new_lake()

    lake.add("ds", rows(1, 2, 3))

    assert lake.failed() == []
    assert lake.validated == 3


def test_rows_are_queued_until_they_are_validated() -> None:
    lake = new_lake()
    lake.add("ds", rows(1, 2, 3))

    assert lake.validate_queued(most=2) == 1
    assert lake.validate_queued(most=2) == 0


def test_every_nth_row_is_validated() -> None:
    lake = new_lake(every=10)

    lake.add("ds", rows(*range(5), extra=1))
    lake.add("ds", rows(*range(5, 25), extra=1))

    assert [one["body"]["xdmEntity"]["_id"] for one in lake.failed_rows()] == [
        f"{number:064x}" for number in (0, 10, 20)
    ]


def test_rows_with_envelope_errors_fail_even_if_few_rows_are_validated() -> None:
    lake = new_lake(every=1_000)
    failed = [Row(one.message, {"_validationErrors": []}) for one in rows(1, 2)]

    lake.add("ds", failed)

    assert len(lake.failed_rows()) == 2


def test_nothing_is_validated_when_switched_off() -> None:
    lake = new_lake(every=0)

    lake.add("ds", rows(1, extra=1))

    assert lake.failed() == []


def test_a_failed_batch_covers_a_minute_and_the_newest_is_first() -> None:
    clock = ManualClock()
    lake = new_lake(clock)
    for _ in range(2):
        lake.add("ds", rows(1, 2, extra=1))
        lake.failed()
        clock.advance(60)

    newest, oldest = lake.failed("ds")

    assert newest.created_ms - oldest.created_ms == 60_000
    assert [len(newest.lines), len(oldest.lines)] == [2, 2]


def test_a_dataset_registered_anew_is_validated_by_its_new_schema() -> None:
    lake = new_lake()
    lake.add("ds", rows(1, extra=1))
    assert len(lake.failed_rows()) == 1

    lake.register(Dataset("ds", "Scores", "schema"))
    lake.add("ds", rows(2, extra=1))

    assert len(lake.failed_rows()) == 1


def test_an_invalid_schema_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        new_lake().register(Dataset("ds", "Scores", "schema", schema={"type": "nonsense"}))


def test_a_row_that_is_not_utf8_fails_and_the_others_are_accepted() -> None:
    lake = new_lake()
    entity = msgspec.Raw(b'{"_id":"\xff\xfe"}')

    report = lake.check("ds", entity)
    lake.add("ds", rows(1))

    assert "not valid JSON" in report[0]["message"]
    assert lake.failed() == []
