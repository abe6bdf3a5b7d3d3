"""The rules for a score: its ranges, its date, its bucket."""

from typing import Literal, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage
from processor.domain.score import Score
from processor.settings import EventSettings, ReadingSettings

DAY_MS = 86_400_000
Bucket: TypeAlias = Literal["low", "medium", "high"]
"""How an analyst groups scores."""

_YEAR_1900_MS = -2_208_988_800_000


class ScoreRules(msgspec.Struct, frozen=True, gc=False):
    """The limits a score is checked against. Source: AEP, Customer AI "input and output"."""

    low_below: float
    high_from: float
    tolerance_ms: int
    max_age_ms: int

    @classmethod
    def from_settings(cls, event: EventSettings, reading: ReadingSettings) -> "ScoreRules":
        """Return the rules of the settings."""
        low_below, high_from = event.bucket_bounds
        tolerance_ms = reading.future_tolerance_seconds * 1000
        return cls(low_below, high_from, tolerance_ms, reading.max_age_days * DAY_MS)

    def bucket(self, score: float) -> Bucket:
        """Return the bucket of a score."""
        if score < self.low_below:
            return "low"
        return "high" if score >= self.high_from else "medium"

    def check(self, score: Score, now_ms: int, pointer: str) -> None:
        """Raise RejectError where a value is out of range; `pointer` is that of the model."""
        if not 0 <= score.score <= 100:  # noqa: PLR2004  also false for NaN
            raise _out_of_range(score, pointer, "score", "a number from 0 to 100")
        if score.probability is not None and not 0 <= score.probability <= 1:
            raise _out_of_range(score, pointer, "probability", "a number from 0 to 1")
        if score.percentile is not None and not 1 <= score.percentile <= 100:  # noqa: PLR2004
            raise _out_of_range(score, pointer, "percentileScore", "an integer from 1 to 100")
        at_ms = score.scored_at_ms
        if not max(now_ms - self.max_age_ms, _YEAR_1900_MS) <= at_ms <= now_ms + self.tolerance_ms:
            raise _bad_date(score, now_ms, pointer)


def _out_of_range(score: Score, pointer: str, field: str, expected: str) -> RejectError:
    detail, pointer = f"The {field} is not {expected}.", f"{pointer}/{field}"
    return RejectError(Stage.ENRICH, Reason.BAD_SCORE, detail, pointer=pointer, model=score.model)


def _bad_date(score: Score, now_ms: int, pointer: str) -> RejectError:
    if score.scored_at_ms > now_ms:
        reason, detail = Reason.FUTURE_DATE, "The score date is in the future."
    else:
        reason, detail = Reason.ANCIENT_DATE, "The score date is older than the settings allow."
    pointer = f"{pointer}/scoreDate"
    return RejectError(Stage.ENRICH, reason, detail, pointer=pointer, model=score.model)
