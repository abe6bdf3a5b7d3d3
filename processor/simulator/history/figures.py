"""How large a history is and what happens in it."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


class Prediction(msgspec.Struct, frozen=True):
    """One Customer AI instance; `warmth` is how a customer's mood turns into its score."""

    name: str
    model_type: Literal["Conversion", "Churn"]
    warmth: float
    spread: float = 6.0

    @property
    def key(self) -> str:
        """The name as Customer AI makes it a field name: letters and digits only."""
        return "".join(filter(str.isalnum, self.name))


PREDICTIONS = (
    Prediction("Likelihood to upgrade account", "Conversion", warmth=46.0),
    Prediction("Likelihood to churn", "Churn", warmth=-48.0),
    Prediction("Likelihood to purchase", "Conversion", warmth=36.0, spread=12.0),
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a history.

    Scoring runs are a week apart, the last one at midnight UTC of `last_run` (epoch ms). Every
    customer gets one score a prediction and run, and about `visits` experience events a week.
    """

    last_run_ms: int
    customers: int = 10_000
    runs: int = 4
    visits: float = 1.5
    predictions: tuple[Prediction, ...] = PREDICTIONS
    tenant: str = "_sandbox"
    several_models: float = 0.12
    """Share of customers whose models come in one record together."""
    flat: float = 0.06
    """Share of customers whose scores come as flat records."""
    repeated: float = 0.002
    """Share of score records that come a second time, unchanged."""
    poison: int = 1
    """Bad records of every kind, in the last run."""
    scores_topic: str = "customer-ai-scores"
    events_topic: str = "experience-events"
    seed: int = 7

    @property
    def scores(self) -> int:
        """Good scores in the whole history, repeats not counted."""
        return self.customers * self.runs * len(self.predictions)

    def run_ms(self, run: int) -> int:
        """Return the instant of a run's score date; runs count from 0."""
        return self.last_run_ms - (self.runs - 1 - run) * WEEK_MS

    @staticmethod
    def last_monday(now_ms: int) -> int:
        """Return midnight UTC of the last Monday at or before an instant."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return int((midnight - timedelta(days=midnight.weekday())).timestamp() * 1000)
