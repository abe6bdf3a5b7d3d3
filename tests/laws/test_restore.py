"""State restored from any changelog is the union of all that was written to it."""

from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.state.format.person import decode, encode
from processor.state.format.store import Origin
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.person import Person, merge
from processor.state.restore import RestoredPartition, merge_records
from tests.support.state import LIMITS, person_with

KEYS = (b"ann", b"bob", b"eve")
days = st.lists(st.integers(1, 9), max_size=3)
persons = st.builds(lambda facts, scores: person_with(*facts, scores=tuple(scores)), days, days)
Log: TypeAlias = list[tuple[bytes, bytes | None]]
written = st.tuples(st.sampled_from(KEYS), persons.map(encode))
erased = st.tuples(st.sampled_from(KEYS), st.none())
records = st.lists(written, max_size=12)
with_erasures = st.lists(st.one_of(written, written, erased), max_size=12)
cuts = st.lists(st.integers(0, 12), max_size=4).map(sorted)


def restored(log: Log, cuts: list[int]) -> tuple[dict[bytes, bytes], RestoredPartition]:
    """Return what a store has after reading a log in slices, and the restored partition."""
    restoring = RestoredPartition(0, 0, catching_up=False)
    with TemporaryDirectory() as folder:
        origin = Origin("changelog", "cluster")
        store = LocalStore(StoreFolder(Path(folder)), origin, partitions=1, max_bytes=1 << 20)
        for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
            restoring.next_offset = end
            merge_records(store, restoring, log[start:end], LIMITS, now_ms=0)
        found = dict(store.scan(0))
        store.close()
    return found, restoring


def expected(log: Log, key: bytes) -> bytes | None:
    """Return the value of a person in a log: all records since the last tombstone, merged."""
    persons: list[Person] = []
    for one, value in log:
        if one == key and value is None:
            persons.clear()
        elif one == key and value is not None and (person := decode(value)) is not None:
            persons.append(person)
    return encode(reduce(lambda a, b: merge(a, b, LIMITS), persons)) if persons else None


@settings(deadline=None, max_examples=60)
@given(with_erasures, cuts)
def test_any_slices_of_any_log_restore_all_of_it(log: Log, cuts: list[int]) -> None:
    found, _ = restored(log, [cut for cut in cuts if cut <= len(log)])

    assert found == {key: value for key in KEYS if (value := expected(log, key)) is not None}


@settings(deadline=None, max_examples=60)
@given(records, cuts)
def test_a_repaired_log_needs_only_the_last_record_of_each_person(
    log: Log, cuts: list[int]
) -> None:
    """Compaction may then leave one record of each person, and nothing is lost."""
    found, restoring = restored(log, [cut for cut in cuts if cut <= len(log)])

    compacted: Log = list({**dict(log), **restoring.repairs}.items())

    assert restored(compacted, [])[0] == found


@settings(deadline=None, max_examples=60)
@given(records, st.integers(0, 12))
def test_a_tail_read_twice_changes_nothing(log: Log, again: int) -> None:
    """A store may be behind its own records: after a crash, or while it catches up."""
    whole, _ = restored(log, [])

    assert restored([*log, *log[again:]], [len(log)])[0] == whole
