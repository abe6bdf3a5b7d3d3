"""Whatever way state takes through the changelog, it comes back as all that anybody knew."""

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
from tests.support.state import LIMITS, knows

KEYS = (b"ann", b"bob", b"eve")
days = st.lists(st.integers(1, 9), max_size=3)
persons = st.builds(lambda facts, scores: knows(*facts, scores=tuple(scores)), days, days)
Log: TypeAlias = list[tuple[bytes, bytes | None]]
written = st.tuples(st.sampled_from(KEYS), persons.map(encode))
erased = st.tuples(st.sampled_from(KEYS), st.none())
records = st.lists(written, max_size=12)
with_erasures = st.lists(st.one_of(written, written, erased), max_size=12)
cuts = st.lists(st.integers(0, 12), max_size=4).map(sorted)


def restored(log: Log, cuts: list[int]) -> tuple[dict[bytes, bytes], RestoredPartition]:
    """Return what a store holds that read a log in slices, and what it owes the log."""
    job = RestoredPartition(0, 0, catching_up=False)
    with TemporaryDirectory() as folder:
        origin = Origin("changelog", "cluster")
        store = LocalStore(StoreFolder(Path(folder)), origin, partitions=1, max_bytes=1 << 20)
        for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
            job.next_offset = end
            merge_records(store, job, log[start:end], LIMITS, now_ms=0)
        found = dict(store.scan(0))
        store.close()
    return found, job


def known(log: Log, key: bytes) -> bytes | None:
    """Return what a log says of a person: all since the last tombstone."""
    said: list[Person] = []
    for one, wire in log:
        if one == key and wire is None:
            said.clear()
        elif one == key and wire is not None and (person := decode(wire)) is not None:
            said.append(person)
    return encode(reduce(lambda a, b: merge(a, b, LIMITS), said)) if said else None


@settings(deadline=None, max_examples=60)
@given(with_erasures, cuts)
def test_any_slices_of_any_log_restore_all_that_it_says(log: Log, cuts: list[int]) -> None:
    found, _ = restored(log, [cut for cut in cuts if cut <= len(log)])

    assert found == {key: wire for key in KEYS if (wire := known(log, key)) is not None}


@settings(deadline=None, max_examples=60)
@given(records, cuts)
def test_a_log_that_is_paid_what_it_is_owed_needs_only_its_last_word(
    log: Log, cuts: list[int]
) -> None:
    """Compaction may then leave one record of each person, and nothing is lost."""
    found, job = restored(log, [cut for cut in cuts if cut <= len(log)])

    compacted: Log = list({**dict(log), **job.repairs}.items())

    assert restored(compacted, [])[0] == found


@settings(deadline=None, max_examples=60)
@given(records, st.integers(0, 12))
def test_a_tail_read_twice_changes_nothing(log: Log, again: int) -> None:
    """A store may be behind its own records: after a crash, or while it looks back."""
    whole, _ = restored(log, [])

    assert restored([*log, *log[again:]], [len(log)])[0] == whole
