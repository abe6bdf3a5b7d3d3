"""Partitions restored from a changelog in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from processor.domain.errors import UnavailableError
from processor.state.format.person import encode
from processor.state.format.store import ChangelogPosition, Origin
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.person import merge
from processor.state.restore import Restore, RestoredPartition
from processor.telemetry.catalogue import STATE_RESTORE_REMAINING_RECORDS
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.reader import FakeReader
from tests.support.state import LIMITS, person_with

ANN, BOB = b"ECID|ann", b"ECID|bob"


class Fixture:
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

    def restore_partition(self, partition: int) -> RestoredPartition:
        self.restore.begin(partition, stale_before_ms=self.clock.now_ms() - 1_000)
        return self.finish()

    def finish(self) -> RestoredPartition:
        for _ in range(100):
            if finished := self.restore.step(0.1):
                return finished[0]
        raise AssertionError("it was never restored")


@pytest.fixture(params=[1, 2, 1_000])
def fixture(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fixture]:
    fixture = Fixture(tmp_path, request.param)
    yield fixture
    fixture.store.close()


def test_an_empty_store_gets_all_of_the_changelog(fixture: Fixture) -> None:
    ann, bob = encode(person_with(1, 2)), encode(person_with(3))
    fixture.write(1, (ANN, encode(person_with(1))), (BOB, bob), (ANN, ann))

    restored = fixture.restore_partition(1)

    assert fixture.reader.begun == [(1, None)]
    assert dict(fixture.store.scan(1)) == {ANN: ann, BOB: bob}
    assert fixture.store.position(1) == ChangelogPosition(3, fixture.clock.now_ms())
    assert (restored.next_offset, restored.records, restored.repairs) == (3, 3, {})


def test_a_store_reads_the_changelog_from_its_position_on(fixture: Fixture) -> None:
    fixture.write(1, (ANN, encode(person_with(1))))
    fixture.restore_partition(1)
    fixture.write(1, (BOB, encode(person_with(2))))

    restored = fixture.restore_partition(1)

    assert fixture.reader.begun[-1] == (1, 1)
    assert restored.records == 1
    assert fixture.store.entries([1]) == 2


def test_a_store_older_than_tombstones_is_restored_from_the_beginning(fixture: Fixture) -> None:
    """An erased person could be in it, whose tombstone is gone from Kafka."""
    fixture.write(1, (ANN, encode(person_with(1))))
    fixture.restore_partition(1)
    fixture.reader.logs[1] = [(BOB, encode(person_with(2)))]
    fixture.clock.advance(2)

    fixture.restore_partition(1)

    assert fixture.reader.begun[-1] == (1, None)
    assert dict(fixture.store.scan(1)) == {BOB: encode(person_with(2))}


def test_a_store_ahead_of_its_changelog_keeps_what_the_changelog_lost(fixture: Fixture) -> None:
    """A truncated changelog: what is lost there is written again."""
    ann, bob = encode(person_with(1)), encode(person_with(2))
    fixture.write(1, (ANN, encode(person_with(3))), (ANN, ann))
    fixture.restore_partition(1)
    ann = dict(fixture.store.scan(1))[ANN]
    fixture.reader.logs[1] = [(BOB, bob)]

    for begun in ([(1, 2), (1, None)], [(1, None)]):  # a restart before it is written begins anew
        restored = fixture.restore_partition(1)

        assert fixture.reader.begun[-len(begun) :] == begun
        assert dict(fixture.store.scan(1)) == {ANN: ann, BOB: bob}
        assert (restored.rewrite, restored.next_offset, restored.seen) == (True, 1, {BOB})
        position = fixture.store.position(1)
        assert position is not None
        assert position.next_offset == 0


def test_an_old_store_of_a_recreated_changelog_is_dropped_and_that_is_said(
    fixture: Fixture,
) -> None:
    fixture.write(1, (ANN, encode(person_with(1))))
    fixture.restore_partition(1)
    fixture.store.adopt("recreated")
    fixture.reader.logs[1] = []
    fixture.clock.advance(2)

    with structlog.testing.capture_logs() as lines:
        fixture.restore_partition(1)

    assert dict(fixture.store.scan(1)) == {}
    assert {"local_store_too_old", "state_begins_empty"} <= {line["code"] for line in lines}


def test_records_of_two_owners_are_merged_and_the_changelog_is_to_be_repaired(
    fixture: Fixture,
) -> None:
    mine, theirs = person_with(1, 2, scores=(1,)), person_with(1, 3, scores=(2,))
    both = encode(merge(mine, theirs, LIMITS))
    fixture.write(1, (ANN, encode(mine)), (ANN, encode(theirs)))

    restored = fixture.restore_partition(1)

    assert dict(fixture.store.scan(1)) == {ANN: both}
    assert restored.repairs == {ANN: both}


def test_a_changelog_with_the_merged_value_needs_no_repair(fixture: Fixture) -> None:
    mine, theirs = person_with(1, 2), person_with(1, 3)
    both = encode(merge(mine, theirs, LIMITS))
    fixture.write(1, (ANN, encode(mine)), (ANN, encode(theirs)), (ANN, both))

    assert fixture.restore_partition(1).repairs == {}


def test_a_tombstone_erases_a_person_and_a_later_record_is_a_new_one(fixture: Fixture) -> None:
    fixture.write(
        1, (ANN, encode(person_with(1))), (BOB, encode(person_with(1))), (ANN, None), (BOB, None)
    )
    fixture.write(1, (BOB, encode(person_with(5))))

    restored = fixture.restore_partition(1)

    assert dict(fixture.store.scan(1)) == {BOB: encode(person_with(5))}
    assert restored.erased == {ANN, BOB}
    assert restored.repairs == {}


def test_while_catching_up_a_tombstone_wins_over_later_records(
    fixture: Fixture,
) -> None:
    fixture.write(1, (ANN, encode(person_with(1))))
    fixture.restore_partition(1)
    fixture.write(1, (ANN, None), (ANN, encode(person_with(1, 2))))

    fixture.restore.catch_up(1, 1)
    restored = fixture.finish()

    assert dict(fixture.store.scan(1)) == {}
    assert restored.repairs == {ANN: None}


def test_remaining_records_are_a_metric(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, 1)
    fixture.write(2, *[(b"%d" % n, encode(person_with(n))) for n in range(10)])
    fixture.restore.begin(2, stale_before_ms=0)
    fixture.clock.advance(6)

    fixture.restore.step(0.1)

    assert fixture.metrics.value(STATE_RESTORE_REMAINING_RECORDS, "2") == 9
    fixture.finish()
    assert fixture.metrics.value(STATE_RESTORE_REMAINING_RECORDS, "2") == 0
    fixture.store.close()


def test_a_cancelled_partition_is_restored_from_its_position_on(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, 1)
    fixture.write(2, *[(b"%d" % n, encode(person_with(n))) for n in range(1, 4)])
    fixture.restore.begin(2, stale_before_ms=0)
    fixture.restore.step(0.1)

    fixture.restore.cancel(2)
    assert not fixture.restore.busy
    fixture.restore_partition(2)

    assert fixture.reader.begun == [(2, None), (2, 1)]
    assert fixture.store.entries([2]) == 3
    fixture.store.close()


def test_a_slice_that_cannot_be_stored_is_stored_by_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = Fixture(tmp_path, slice_records=2)
    value = encode(person_with(1))
    fixture.write(0, (ANN, value), (BOB, value), (b"ECID|cat", value))
    fixture.restore.begin(0, stale_before_ms=0)

    def full(*_: object, **__: object) -> None:
        raise UnavailableError("local store", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(fixture.store, "write", full)
        with pytest.raises(UnavailableError):
            fixture.restore.step(0.1)

    fixture.finish()
    assert sorted(key for key, _ in fixture.store.scan(0)) == [ANN, BOB, b"ECID|cat"]
    fixture.store.close()
