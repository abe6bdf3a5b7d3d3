"""The way back from the changelog."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.domain.errors import UnavailableError
from processor.state.format.person import encode
from processor.state.format.store import ChangelogPosition, Origin
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.person import merge
from processor.state.restore import Restore, RestoredPartition
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.reader import FakeReader
from tests.support.state import LIMITS, knows

ANN, BOB = b"ECID|ann", b"ECID|bob"


class House:
    """A restore over a real store and a changelog in memory."""

    def __init__(self, path: Path, slice_records: int) -> None:
        self.clock = ManualClock()
        self.reader = FakeReader(slice_records)
        self.metrics = Metrics()
        self.store = LocalStore(
            StoreFolder(path), Origin("changelog", "cluster"), partitions=4, max_bytes=64 << 20
        )
        self.restore = Restore(
            self.reader, self.store, LIMITS, metrics=self.metrics, clock=self.clock
        )

    def write(self, partition: int, *records: tuple[bytes, bytes | None]) -> None:
        self.reader.logs.setdefault(partition, []).extend(records)

    def bring_back(self, partition: int) -> RestoredPartition:
        self.restore.begin(partition, stale_before_ms=self.clock.now_ms() - 1_000)
        return self.finish()

    def finish(self) -> RestoredPartition:
        for _ in range(100):
            if back := self.restore.step(0.1):
                return back[0]
        raise AssertionError("it never came back")


@pytest.fixture(params=[1, 2, 1_000])
def processor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    processor = House(tmp_path, request.param)
    yield processor
    processor.store.close()


def test_an_empty_store_gets_all_that_the_changelog_says(processor: House) -> None:
    ann, bob = encode(knows(1, 2)), encode(knows(3))
    processor.write(1, (ANN, encode(knows(1))), (BOB, bob), (ANN, ann))

    back = processor.bring_back(1)

    assert processor.reader.begun == [(1, None)]
    assert dict(processor.store.scan(1)) == {ANN: ann, BOB: bob}
    assert processor.store.position(1) == ChangelogPosition(3, processor.clock.now_ms())
    assert (back.next_offset, back.records, back.repairs) == (3, 3, {})


def test_a_store_that_was_kept_reads_only_the_tail(processor: House) -> None:
    processor.write(1, (ANN, encode(knows(1))))
    processor.bring_back(1)
    processor.write(1, (BOB, encode(knows(2))))

    back = processor.bring_back(1)

    assert processor.reader.begun[-1] == (1, 1)
    assert back.records == 1
    assert processor.store.entries([1]) == 2


def test_a_store_left_longer_than_tombstones_are_kept_starts_from_nothing(processor: House) -> None:
    """An erased person could be in it whose tombstone is gone from Kafka."""
    processor.write(1, (ANN, encode(knows(1))))
    processor.bring_back(1)
    processor.reader.logs[1] = [(BOB, encode(knows(2)))]
    processor.clock.advance(2)

    processor.bring_back(1)

    assert processor.reader.begun[-1] == (1, None)
    assert dict(processor.store.scan(1)) == {BOB: encode(knows(2))}


def test_a_store_ahead_of_a_changelog_that_lost_records_starts_from_nothing(
    processor: House,
) -> None:
    processor.write(1, (ANN, encode(knows(1))), (ANN, encode(knows(2))))
    processor.bring_back(1)
    processor.reader.logs[1] = [(BOB, encode(knows(2)))]

    back = processor.bring_back(1)

    assert processor.reader.begun[-2:] == [(1, 2), (1, None)]
    assert dict(processor.store.scan(1)) == {BOB: encode(knows(2))}
    assert back.next_offset == 1


def test_what_two_owners_wrote_side_by_side_is_merged_and_owed_to_the_changelog(
    processor: House,
) -> None:
    mine, zombies = knows(1, 2, scores=(1,)), knows(1, 3, scores=(2,))
    both = encode(merge(mine, zombies, LIMITS))
    processor.write(1, (ANN, encode(mine)), (ANN, encode(zombies)))

    back = processor.bring_back(1)

    assert dict(processor.store.scan(1)) == {ANN: both}
    assert back.repairs == {ANN: both}


def test_nothing_is_owed_once_the_changelog_has_it_all(processor: House) -> None:
    mine, zombies = knows(1, 2), knows(1, 3)
    both = encode(merge(mine, zombies, LIMITS))
    processor.write(1, (ANN, encode(mine)), (ANN, encode(zombies)), (ANN, both))

    assert processor.bring_back(1).repairs == {}


def test_a_tombstone_takes_a_person_out_and_a_later_record_begins_anew(processor: House) -> None:
    processor.write(1, (ANN, encode(knows(1))), (BOB, encode(knows(1))), (ANN, None), (BOB, None))
    processor.write(1, (BOB, encode(knows(5))))

    back = processor.bring_back(1)

    assert dict(processor.store.scan(1)) == {BOB: encode(knows(5))}
    assert back.erased == {ANN, BOB}
    assert back.repairs == {}


def test_while_catching_up_a_tombstone_outweighs_what_was_written_after_it(
    processor: House,
) -> None:
    processor.write(1, (ANN, encode(knows(1))))
    processor.bring_back(1)
    processor.write(1, (ANN, None), (ANN, encode(knows(1, 2))))

    processor.restore.catch_up(1, 1)
    back = processor.finish()

    assert dict(processor.store.scan(1)) == {}
    assert back.repairs == {ANN: None}


def test_remaining_records_and_progress_can_be_watched(tmp_path: Path) -> None:
    processor = House(tmp_path, 1)
    processor.write(2, *[(b"%d" % n, encode(knows(n))) for n in range(10)])
    processor.restore.begin(2, stale_before_ms=0)
    processor.clock.advance(6)

    processor.restore.step(0.1)

    assert processor.metrics.value("state_restore_remaining_records", "2") == 9
    processor.finish()
    assert processor.metrics.value("state_restore_remaining_records", "2") == 0
    processor.store.close()


def test_a_cancelled_partition_can_begin_again_where_it_stood(tmp_path: Path) -> None:
    processor = House(tmp_path, 1)
    processor.write(2, *[(b"%d" % n, encode(knows(n))) for n in range(1, 4)])
    processor.restore.begin(2, stale_before_ms=0)
    processor.restore.step(0.1)

    processor.restore.cancel(2)
    assert not processor.restore.busy
    processor.bring_back(2)

    assert processor.reader.begun == [(2, None), (2, 1)]
    assert processor.store.entries([2]) == 3
    processor.store.close()


def test_a_slice_that_could_not_be_stored_is_stored_by_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = House(tmp_path, slice_records=2)
    wire = encode(knows(1))
    processor.write(0, (ANN, wire), (BOB, wire), (b"ECID|cat", wire))
    processor.restore.begin(0, stale_before_ms=0)

    def full(*_: object, **__: object) -> None:
        raise UnavailableError("local store", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(processor.store, "write", full)
        with pytest.raises(UnavailableError):
            processor.restore.step(0.1)

    processor.finish()
    assert sorted(key for key, _ in processor.store.scan(0)) == [ANN, BOB, b"ECID|cat"]
    processor.store.close()
