import math
from typing import Any

import pytest

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason
from processor.enrich.score_rules import ScoreRules
from processor.settings import EventSettings, ReadingSettings
from tests.support.enriching import DAY_MS, NOW_MS, score_of

RULES = ScoreRules.from_settings(EventSettings(tenant="acme"), ReadingSettings())


@pytest.mark.parametrize(
    ("score", "bucket"),
    [(0, "low"), (24.999, "low"), (25, "medium"), (74.9, "medium"), (75, "high"), (100, "high")],
)
def test_bucket_bounds_are_those_of_the_settings(score: float, bucket: str) -> None:
    assert RULES.bucket(score) == bucket


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"score": -0.1}, Reason.BAD_SCORE, "score"),
        ({"score": 100.1}, Reason.BAD_SCORE, "score"),
        ({"score": math.nan}, Reason.BAD_SCORE, "score"),
        ({"score": math.inf}, Reason.BAD_SCORE, "score"),
        ({"probability": 1.01}, Reason.BAD_SCORE, "probability"),
        ({"probability": math.nan}, Reason.BAD_SCORE, "probability"),
        ({"percentile": 0}, Reason.BAD_SCORE, "percentileScore"),
        ({"percentile": 101}, Reason.BAD_SCORE, "percentileScore"),
        ({"scored_at_ms": NOW_MS + 300_001}, Reason.FUTURE_DATE, "scoreDate"),
        ({"scored_at_ms": NOW_MS - 3_650 * DAY_MS - 1}, Reason.ANCIENT_DATE, "scoreDate"),
        ({"scored_at_ms": -(10**15)}, Reason.ANCIENT_DATE, "scoreDate"),
    ],
)
def test_a_score_outside_a_range_is_rejected_at_its_field(
    changes: dict[str, Any], reason: Reason, field: str
) -> None:
    with pytest.raises(RejectError) as caught:
        RULES.check(score_of(**changes), NOW_MS, "/_acme/CustomerAI/Upgrade")

    reject = caught.value.reject
    assert reject.reason is reason
    assert reject.pointer == f"/_acme/CustomerAI/Upgrade/{field}"
    assert reject.model == "Likelihood to upgrade account"


@pytest.mark.parametrize(
    "changes",
    [
        {"score": 0, "probability": 0, "percentile": 1},
        {"score": 100, "probability": 1, "percentile": 100},
        {"probability": None, "percentile": None},
        {"scored_at_ms": NOW_MS + 300_000},
        {"scored_at_ms": NOW_MS - 3_650 * DAY_MS},
    ],
)
def test_ranges_include_their_ends(changes: dict[str, Any]) -> None:
    RULES.check(score_of(**changes), NOW_MS, "")


def test_dates_before_1900_are_rejected_whatever_the_settings_allow() -> None:
    rules = ScoreRules.from_settings(
        EventSettings(tenant="acme"), ReadingSettings(max_age_days=10_000_000)
    )

    with pytest.raises(RejectError, match="older than"):
        rules.check(score_of(scored_at_ms=-2_208_988_800_001), NOW_MS, "")
