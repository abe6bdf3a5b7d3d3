"""A dead letter whose record had other scores, too: only the rejected ones are read again."""

from collections.abc import Sequence

import pytest

from processor.domain.event import DecodedRecord, RepartitionMessage
from processor.domain.record import Record, RecordPosition
from processor.domain.score import Identity, Score
from processor.replay import RejectedOnlyReader

RECORD = Record("customer-ai-facts", 0, 3, 9_000, b"1", b"value")
ONE, OTHER = (Score(model, (Identity("ECID", "1"),), 40.0, 1_000) for model in ("one", "other"))


class FixedReader:
    """Reads every record as the same one."""

    def __init__(self, reading: DecodedRecord) -> None:
        self._reading = reading

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        del records
        return True

    def read(self, record: Record) -> DecodedRecord:
        del record
        return self._reading


@pytest.mark.parametrize(
    "reading",
    [
        DecodedRecord((ONE, OTHER), needs_repartition=True),
        DecodedRecord(
            (ONE, OTHER),
            repartitioned=RepartitionMessage(b"ECID|1", None, (ONE, OTHER), RecordPosition(5, 7)),
        ),
    ],
)
def test_a_rejected_score_goes_the_way_and_has_the_position_of_its_record(
    reading: DecodedRecord,
) -> None:
    reader = RejectedOnlyReader(FixedReader(reading), {RECORD.origin: {"other"}})

    found = reader.read(RECORD)

    assert found.scores == (OTHER,)
    assert found.needs_repartition == reading.needs_repartition
    assert found.repartitioned == reading.repartitioned
