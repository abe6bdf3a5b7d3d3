"""What the processor makes of a recorded history is, byte for byte, what it made of it before."""

from itertools import zip_longest
from pathlib import Path

import pytest

from tests.support.recorded import (
    FOLDER,
    RUNS,
    Json,
    expected,
    expected_counts,
    raw,
    rewritten,
    run,
)

LARGEST = 400_000
SHOWN = 200


def parting(old: object, new: object) -> str:
    """Return two values from a little before where they part."""
    was, now = str(old), str(new)
    alike = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), 0)
    start = max(0, alike - 40)
    return f"{was[start : start + SHOWN]} is now {now[start : start + SHOWN]}"


def first_difference(was: list[Json], now: list[Json]) -> str:
    """Return where two lists of items part, with the fields that differ; nothing if they agree."""
    nothing: Json = {}
    for index, (old, new) in enumerate(zip_longest(was, now, fillvalue=nothing)):
        if old != new:
            fields = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            changes = [f"{field}: {parting(old.get(field), new.get(field))}" for field in fields]
            name = f"item {index} ({old.get('kind') or new.get('kind')}, {old.get('record', '')})"
            return "\n".join([name, *changes])
    return ""


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_recorded_bytes_in_the_recorded_order(name: str, tmp_path: Path) -> None:
    items, _ = run(name, tmp_path)

    difference = first_difference(expected(name), items)

    assert difference == ""


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_recorded_counts(name: str, tmp_path: Path) -> None:
    _, counts = run(name, tmp_path)
    recorded = expected_counts(name)

    differing = {
        key: (recorded.get(key), counts.get(key))
        for key in recorded.keys() | counts.keys()
        if recorded.get(key) != counts.get(key)
    }

    assert differing == {}


def test_recorded_state_is_read_and_written_again_as_the_same_bytes() -> None:
    stored = [item for item in expected("joined") if item["kind"] == "stored"]
    values = [raw(item["value"]) for item in stored if item["database"] != "meta"]

    assert len(values) > 50
    assert [value for value in values if value is None or rewritten(value) != value] == []


def test_a_difference_names_the_item_and_the_field() -> None:
    was = [{"kind": "event", "record": "t/0/1", "id": "a", "body": "x"}]
    now = [{"kind": "event", "record": "t/0/1", "id": "a", "body": "y"}]

    assert first_difference(was, was) == ""
    assert first_difference(was, now) == "item 0 (event, t/0/1)\nbody: x is now y"
    assert first_difference(was, []).startswith("item 0 (event, t/0/1)\n")


def test_the_recording_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < LARGEST
