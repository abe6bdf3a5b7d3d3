from collections import Counter, defaultdict
from typing import Any

import msgspec
import pytest

from processor.simulator.history.history import EXPECTED_REASONS, BadRecord, bad_records, history
from processor.simulator.history.settings import (
    DAY_MS,
    PREDICTIONS,
    WEEK_MS,
    HistorySettings,
    InputRecord,
)

MONDAY = 1_793_577_600_000
SETTINGS = HistorySettings(last_run_ms=MONDAY, customers=400, runs=3)


@pytest.fixture(scope="module")
def records() -> list[InputRecord]:
    return list(history(SETTINGS))


def models_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a record's models by their field name."""
    if "prediction" in record:
        return {"".join(filter(str.isalnum, record["prediction"])): record}
    models: dict[str, dict[str, Any]] = record["_acme"]["CustomerAI"]
    return models


def good_scores(records: list[InputRecord]) -> list[tuple[InputRecord, str, dict[str, Any]]]:
    return [
        (record, name, model)
        for record in records
        if record.topic == SETTINGS.scores_topic and record.key.startswith(b"C")
        for name, model in models_of(msgspec.json.decode(record.value or b"")).items()
    ]


def events(records: list[InputRecord]) -> list[tuple[InputRecord, dict[str, Any]]]:
    return [
        (record, msgspec.json.decode(record.value or b""))
        for record in records
        if record.topic == SETTINGS.events_topic
    ]


def test_the_last_monday_is_midnight_at_or_before_now() -> None:
    for now in (MONDAY, MONDAY + 1, MONDAY + WEEK_MS - 1):
        assert HistorySettings.last_monday(now) == MONDAY
    assert HistorySettings.last_monday(MONDAY - 1) == MONDAY - WEEK_MS


def test_the_same_settings_give_the_same_bytes_and_other_seeds_do_not(
    records: list[InputRecord],
) -> None:
    other = msgspec.structs.replace(SETTINGS, seed=8)

    assert list(history(SETTINGS)) == records
    assert next(iter(history(other))) != records[0]


def test_records_are_in_order_of_time(records: list[InputRecord]) -> None:
    times = [record.timestamp_ms for record in records]

    assert times == sorted(times)
    assert times[0] >= SETTINGS.run_ms(0) - WEEK_MS


def test_every_customer_is_scored_once_per_prediction_and_run(records: list[InputRecord]) -> None:
    times = Counter(
        (record.key, name, record.timestamp_ms // WEEK_MS)
        for record, name, _ in good_scores(records)
    )

    assert len(times) == SETTINGS.scores == 400 * 3 * len(PREDICTIONS)
    assert 0 < sum(count - 1 for count in times.values()) < 0.02 * SETTINGS.scores


def test_all_shapes_and_date_formats_occur(records: list[InputRecord]) -> None:
    flat = sum("prediction" in model for _, _, model in good_scores(records))
    rows = [record for record in records if record.key.startswith(b"C")]
    several = sum(
        len(models_of(msgspec.json.decode(one.value or b""))) > 1
        for one in rows
        if one.topic == SETTINGS.scores_topic
    )
    formats = {
        type(model["scoreDate"]).__name__ + str(len(str(model["scoreDate"])))
        for _, _, model in good_scores(records)
    }

    assert flat > 0
    assert several > 0
    assert formats == {"str10", "str19", "str20", "str29", "int13"}


def test_scores_are_within_customer_ais_ranges(records: list[InputRecord]) -> None:
    for _, _, model in good_scores(records):
        assert 0 <= model["score"] <= 100
        assert 0 <= model["probability"] <= 1
        assert 1 <= model["percentileScore"] <= 100
        assert model["modelType"] in {"Conversion", "Churn"}
        assert all(
            set(one) == {"code", "value", "importance"} for one in model["influentialFactors"]
        )


def test_percentiles_rank_the_scores_of_a_run(records: list[InputRecord]) -> None:
    runs = defaultdict(list)
    for record, name, model in good_scores(records):
        runs[name, record.timestamp_ms // WEEK_MS].append(
            (model["percentileScore"], model["score"])
        )

    for ranked in runs.values():
        by_rank = [score for _, score in sorted(ranked)]
        assert by_rank == sorted(by_rank)
        assert {rank for rank, _ in ranked} == set(range(1, 100))


def test_scores_move_between_runs_in_every_direction(records: list[InputRecord]) -> None:
    buckets: dict[tuple[bytes, str], list[int]] = defaultdict(list)
    for record, name, model in good_scores(records):
        buckets[record.key, name].append((model["score"] >= 25) + (model["score"] >= 75))

    moves = Counter((path[0], path[-1]) for path in buckets.values())

    assert all(moves[start, end] > 0 for start in (0, 1, 2) for end in (0, 1, 2))


def test_viewers_of_products_have_higher_upgrade_scores(records: list[InputRecord]) -> None:
    first_run = MONDAY - 2 * WEEK_MS
    viewers = {
        record.key
        for record, event in events(records)
        if record.timestamp_ms < first_run and "productViews" in event.get("commerce", {})
    }
    scores: dict[bool, list[float]] = {True: [], False: []}
    for record, name, model in good_scores(records):
        if name == PREDICTIONS[0].key and record.timestamp_ms < first_run + DAY_MS:
            scores[record.key in viewers].append(model["score"])

    means = {kind: sum(found) / len(found) for kind, found in scores.items()}
    assert means[True] > means[False] + 10


def test_events_come_from_all_four_inputs(records: list[InputRecord]) -> None:
    found = [event for _, event in events(records)]

    analytics = [event for event in found if "_experience" in event]
    audiences = [event for event in found if "segmentMemberships" in event]
    consumer = [event for event in found if event.get("eventType") == "web - pageview"]
    experience = [event for event in found if event.get("eventType", "").startswith("commerce.")]
    assert all("eventType" not in event and "identityMap" not in event for event in analytics)
    assert all(
        len(event["endUserIDs"]["_experience"]["mcid"]["id"]) == 38
        for event in analytics + consumer
    )
    assert all(len(kind) > 20 for kind in (analytics, audiences, consumer, experience))
    assert len({event["_id"] for event in found}) == len(found)


def test_a_customer_has_one_ecid_everywhere(records: list[InputRecord]) -> None:
    ecids: dict[bytes, set[str]] = defaultdict(set)
    for record in records:
        if record.key.startswith(b"C"):
            row = msgspec.json.decode(record.value or b"")
            mapped = row.get("identityMap", {}).get("ECID", [{}])[0].get("id")
            named = row.get("endUserIDs", {}).get("_experience", {}).get("mcid", {}).get("id")
            ecids[record.key].add(mapped or named)

    assert all(len(found) == 1 for found in ecids.values())
    assert len(ecids) == SETTINGS.customers


def test_orders_carry_an_order_id(records: list[InputRecord]) -> None:
    orders = [event for _, event in events(records) if "order" in event.get("commerce", {})]

    assert orders
    assert all(event["commerce"]["order"]["purchaseID"].startswith("O") for event in orders)


def test_bad_records_are_last_and_have_expected_reasons(
    records: list[InputRecord],
) -> None:
    assert [record.key[:6] for record in records[-len(BadRecord) :]] == [b"BAD000"] * len(BadRecord)
    assert set(EXPECTED_REASONS) == set(BadRecord)
    twice = msgspec.structs.replace(SETTINGS, bad_records=2)
    assert len(list(bad_records(twice, MONDAY))) == 2 * len(BadRecord)
