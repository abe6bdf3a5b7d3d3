"""Size and contents of a history, and the records it consists of."""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


class Prediction(msgspec.Struct, frozen=True):
    """One Customer AI instance; a score is 50 plus `mood_weight` times the mood of the customer."""

    name: str
    model_type: Literal["Conversion", "Churn"]
    mood_weight: float
    spread: float = 6.0

    @property
    def key(self) -> str:
        """The name as Customer AI makes it a field name: letters and digits only."""
        return "".join(filter(str.isalnum, self.name))


PREDICTIONS = (
    Prediction("Likelihood to upgrade account", "Conversion", mood_weight=46.0),
    Prediction("Likelihood to churn", "Churn", mood_weight=-48.0),
    Prediction("Likelihood to purchase", "Conversion", mood_weight=36.0, spread=12.0),
)


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Size and contents of a history.

    Scoring runs are a week apart, the last one at `last_run_ms` (epoch ms), a midnight UTC. Every
    customer gets one score per prediction and run, and about `visits` experience events a week.
    """

    last_run_ms: int
    customers: int = 10_000
    runs: int = 4
    visits: float = 1.5
    predictions: tuple[Prediction, ...] = PREDICTIONS
    tenant: str = "_acme"
    several_models: float = 0.12
    """Share of customers with all their models in one record."""
    flat: float = 0.06
    """Share of customers with flat score records."""
    repeated: float = 0.002
    """Share of score records that are sent twice."""
    bad_records: int = 1
    """Number of bad records of every kind, after the last run."""
    scores_topic: str = "customer-ai-scores"
    events_topic: str = "experience-events"
    seed: int = 7

    @property
    def scores(self) -> int:
        """Number of good scores in the whole history, without repetitions."""
        return self.customers * self.runs * len(self.predictions)

    def run_ms(self, run: int) -> int:
        """Return the score date of a run in epoch ms; runs count from 0."""
        return self.last_run_ms - (self.runs - 1 - run) * WEEK_MS

    @staticmethod
    def last_monday(now_ms: int) -> int:
        """Return midnight UTC of the last Monday at or before a time."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return int((midnight - timedelta(days=midnight.weekday())).timestamp() * 1000)


class InputRecord(NamedTuple):
    """A record for an input topic; time in epoch ms, a value of None is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    timestamp_ms: int
