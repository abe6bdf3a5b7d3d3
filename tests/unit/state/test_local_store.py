"""The local store: atomic writes, and a new store where the files cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from processor.domain.errors import SettingsError, UnavailableError
from processor.state.format.person import encode
from processor.state.format.store import ChangelogPosition, Origin
from processor.state.inspect import StoreView, compare
from processor.state.local_store import LocalStore, StoreFolder
from tests.support.state import LIMITS, person_with

ORIGIN = Origin("changelog", "cluster", "topic-id")


def opened(path: Path, origin: Origin = ORIGIN, max_bytes: int = 64 << 20) -> LocalStore:
    return LocalStore(StoreFolder(path), origin, partitions=8, max_bytes=max_bytes)


def abandon(store: LocalStore) -> None:
    """Leave a store as a killed process does: not synced, not closed, only the lock is gone."""
    store._env.close()  # noqa: SLF001  nothing else does this
    store._folder.release(closed=False)  # noqa: SLF001  likewise


def note(path: Path) -> Path:
    return path / "note.json"


def test_values_and_positions_are_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({3: {b"ann": b"1", b"bob": b"2"}}, {3: ChangelogPosition(7, 1000)})
    store.write({3: {b"bob": None}}, {3: ChangelogPosition(8, 1001)})
    store.close()

    store = opened(tmp_path)

    assert store.read([(3, b"ann"), (3, b"bob"), (4, b"ann")]) == {(3, b"ann"): b"1"}
    assert store.position(3) == ChangelogPosition(8, 1001)
    assert store.position(4) is None
    assert store.entries([3]) == 1
    store.close()


def test_the_store_of_a_killed_process_is_trusted(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    abandon(store)

    store = opened(tmp_path)

    assert store.read([(0, b"ann")]) == {(0, b"ann"): b"1"}
    store.close()


def test_after_a_power_cut_the_store_is_cleared(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    abandon(store)
    note(tmp_path).write_text('{"boot": "another boot", "closed": false}')

    store = opened(tmp_path)

    assert store.partitions() == []
    store.close()


def test_a_store_closed_in_order_is_trusted_after_a_reboot(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    store.close()
    note(tmp_path).write_text('{"boot": "another boot", "closed": true}')

    store = opened(tmp_path)

    assert store.partitions() == [0]
    store.close()


@pytest.mark.parametrize(
    "other",
    [
        Origin("other", "cluster", "topic-id"),
        Origin("changelog", "other", "topic-id"),
        Origin("changelog", "cluster", "topic-id", format=2),
    ],
)
def test_the_store_of_another_changelog_is_cleared(tmp_path: Path, other: Origin) -> None:
    store = opened(tmp_path, other)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    store.close()

    with structlog.testing.capture_logs() as lines:
        store = opened(tmp_path)

    assert store.partitions() == []
    assert (lines[0]["code"], lines[0]["log_level"]) == (
        "local_store_of_another_changelog",
        "error",
    )
    store.close()


def test_the_store_of_a_recreated_changelog_keeps_its_values_and_no_position(
    tmp_path: Path,
) -> None:
    """Also for the start after that one, until the values are written to the changelog."""
    store = opened(tmp_path, Origin("changelog", "cluster", "old"))
    store.write(
        {n: {b"ann": b"1"} for n in (0, 3)}, {n: ChangelogPosition(7, 1000 + n) for n in (0, 3)}
    )
    store.close()

    for recreated in (True, False):
        store = opened(tmp_path)

        assert store.recreated is recreated
        assert store.read([(0, b"ann"), (3, b"ann")]) == {(0, b"ann"): b"1", (3, b"ann"): b"1"}
        assert [store.position(n) for n in (0, 3)] == [
            ChangelogPosition(0, 1000),
            ChangelogPosition(0, 1003),
        ]
        store.close()


def test_a_store_is_trusted_where_the_broker_has_no_topic_ids(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    store.close()
    opened(tmp_path, Origin("changelog", "cluster")).close()

    store = opened(tmp_path)

    assert store.partitions() == [0]
    store.close()


@pytest.mark.parametrize("damage", [b"", b"not a database", os.urandom(40_960)])
def test_damaged_files_are_replaced(tmp_path: Path, damage: bytes) -> None:
    opened(tmp_path).close()
    (tmp_path / "data.mdb").write_bytes(damage)

    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})

    assert store.read([(0, b"ann")]) == {(0, b"ann"): b"1"}
    store.close()


def test_a_store_that_kills_every_start_is_cleared(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})
    abandon(store)
    for _ in range(4):
        store = opened(tmp_path)
        assert store.partitions() == [0]
        abandon(store)

    store = opened(tmp_path)

    assert store.partitions() == []
    store.close()


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    store = opened(tmp_path)
    code = (
        "import sys, pathlib; from processor.state.local_store import StoreFolder; "
        "StoreFolder(pathlib.Path(sys.argv[1]))"
    )

    other = subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert "SettingsError" in other.stderr
    assert "each replica needs its own" in other.stderr
    with pytest.raises(SettingsError):
        StoreFolder(tmp_path)
    store.close()


def test_a_full_store_is_unavailable_and_keeps_its_values(tmp_path: Path) -> None:
    store = opened(tmp_path, max_bytes=1 << 20)
    store.write({0: {b"ann": b"1"}}, {0: ChangelogPosition(1, 0)})

    with pytest.raises(UnavailableError, match="max_store_bytes"):
        store.write(
            {0: {b"%d" % n: bytes(4_000) for n in range(1_000)}}, {0: ChangelogPosition(2, 0)}
        )

    assert store.position(0) == ChangelogPosition(1, 0)
    assert store.read([(0, b"ann")]) == {(0, b"ann"): b"1"}
    store.close()


def test_a_folder_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnavailableError, match="local store"):
        StoreFolder(tmp_path / "file" / "state")


def test_keys_too_long_for_lmdb_stay_different(tmp_path: Path) -> None:
    store = opened(tmp_path)
    long_keys = [b"ECID|" + b"1" * 600 + tail for tail in (b"a", b"b")]

    store.write({0: {key: key[-1:] for key in long_keys}}, {0: ChangelogPosition(1, 0)})

    assert store.read([(0, key) for key in long_keys]) == {(0, key): key[-1:] for key in long_keys}
    store.close()


def test_nothing_is_left_of_a_dropped_partition(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write({n: {b"ann": b"1"} for n in (0, 1)}, {n: ChangelogPosition(1, 0) for n in (0, 1)})

    store.drop(0)
    store.drop(5)

    assert store.partitions() == [1]
    assert store.position(0) is None
    assert store.read([(0, b"ann")]) == {}
    store.write({0: {b"bob": b"2"}}, {0: ChangelogPosition(1, 0)})
    assert dict(store.scan(0)) == {b"bob": b"2"}
    store.close()


def test_a_store_that_cannot_be_opened_releases_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("processor.state.local_store.lmdb.open", full)
        with pytest.raises(UnavailableError, match="No space left"):
            opened(tmp_path)

    opened(tmp_path).close()


def test_a_value_in_another_format_is_no_difference_from_the_changelog(tmp_path: Path) -> None:
    value = encode(person_with(1))
    older = b"\x01" + value[1:]
    mine, replayed = opened(tmp_path / "mine"), opened(tmp_path / "replayed")
    mine.write(
        {3: {b"ann": value, b"bob": older, b"eve": encode(person_with(1, 2))}},
        {3: ChangelogPosition(7, 1000)},
    )
    replayed.write(
        {3: {b"ann": older, b"bob": value, b"eve": older}}, {3: ChangelogPosition(7, 1000)}
    )
    mine.close()

    with StoreView(str(tmp_path / "mine")) as view:
        found = compare(view, replayed, 3, 7, LIMITS)

    assert (found.same, found.behind, found.ahead) == (2, 0, 1)
    replayed.close()
