"""Scoring runs as Customer AI writes them: profile rows, dated midnight, with factors."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime

from processor.simulator.history.customers import SCORING_WINDOW_MS, Customers
from processor.simulator.history.settings import HistorySettings, InputRecord, Prediction

_FACTOR = b'{"code":"%b","value":"%b","importance":"%b"}'
_MODEL = (
    b'"score":%.1f,"probability":%.3f,"percentileScore":%d,"modelType":"%b","scoreDate":%b,'
    b'"influentialFactors":[%b]'
)
_IDENTITIES = b'"identityMap":{"ECID":[{"id":"%b","primary":true}],"CRMID":[{"id":"%b"}]}'
_LEAST = 0.5
_IMPORTANCE = ((3.0, b"high"), (1.5, b"medium"), (_LEAST, b"low"))
_VISITS = b"Counts of webVisit in last 30 days"
_DISTINCT = b"Number of distinct WebPage webVisit in last 30 days"
_VIEWS = b"Counts of productViews in last 30 days"
_ORDERS = b"Counts of order in last 30 days"


class ScoringRuns:
    """Scores all customers by mood and events, and generates the records of a run."""

    def __init__(self, settings: HistorySettings, customers: Customers) -> None:
        self._settings = settings
        self._customers = customers
        self._names = [prediction.key.encode() for prediction in settings.predictions]

    def run(self, scored_at_ms: int, rng: random.Random) -> Iterator[InputRecord]:
        """Yield the records of one run, in order of time, customers in random order."""
        settings, customers = self._settings, self._customers
        bodies = [
            self._bodies(prediction, scored_at_ms, rng) for prediction in settings.predictions
        ]
        order = list(range(customers.count))
        rng.shuffle(order)
        step = SCORING_WINDOW_MS / max(1, customers.count)
        for index, customer in enumerate(order):
            time_ms = scored_at_ms + int(index * step)
            for value in self._rows(customer, [body[customer] for body in bodies], rng.random()):
                record = InputRecord(
                    settings.scores_topic, customers.crmid[customer], value, time_ms
                )
                yield record
                if rng.random() < settings.repeated:
                    yield record

    def _rows(self, customer: int, bodies: list[bytes], drawn: float) -> Iterator[bytes]:
        settings = self._settings
        identities = _IDENTITIES % (self._customers.ecid[customer], self._customers.crmid[customer])
        tenant = settings.tenant.encode()
        named = [b'"%b":{%b}' % pair for pair in zip(self._names, bodies, strict=True)]
        if drawn < settings.flat:
            for prediction, body in zip(settings.predictions, bodies, strict=True):
                yield b'{%b,"prediction":"%b",%b}' % (identities, prediction.name.encode(), body)
        elif drawn < settings.flat + settings.several_models:
            yield b'{%b,"%b":{"CustomerAI":{%b}}}' % (identities, tenant, b",".join(named))
        else:
            for model in named:
                yield b'{%b,"%b":{"CustomerAI":{%b}}}' % (identities, tenant, model)

    def _bodies(self, prediction: Prediction, scored_at_ms: int, rng: random.Random) -> list[bytes]:
        scores = self._scores(prediction, rng)
        percentiles = _percentiles(scores)
        dates = _date_formats(scored_at_ms)
        kind, forms = prediction.model_type.encode(), len(dates)
        return [
            _MODEL
            % (
                score,
                _probability(score),
                percentiles[customer],
                kind,
                dates[customer % forms],
                self._factors(customer),
            )
            for customer, score in enumerate(scores)
        ]

    def _scores(self, prediction: Prediction, rng: random.Random) -> list[float]:
        gauss, weight, spread = rng.gauss, prediction.mood_weight, prediction.spread
        lift = math.copysign(2.0, weight)
        return [
            round(max(0.0, min(100.0, 50 + weight * mood + lift * views + gauss(0, spread))), 1)
            for mood, views in zip(self._customers.mood, self._customers.views, strict=True)
        ]

    def _factors(self, customer: int) -> bytes:
        customers = self._customers
        done = (
            (customers.views[customer], _VIEWS),
            (customers.visits[customer], _VISITS),
            (customers.orders[customer], _ORDERS),
            (customers.visits[customer] * 0.6, _DISTINCT),
        )
        return b",".join([_factor(code, count) for count, code in done if count >= _LEAST])


def _percentiles(scores: list[float]) -> list[int]:
    ranks = [0] * len(scores)
    for rank, customer in enumerate(sorted(range(len(scores)), key=scores.__getitem__)):
        ranks[customer] = 1 + rank * 99 // len(scores)
    return ranks


def _probability(score: float) -> float:
    return 0.9 / (1 + math.exp((62 - score) / 13))


def _factor(code: bytes, count: float) -> bytes:
    importance = next(name for least, name in _IMPORTANCE if count >= least)
    return _FACTOR % (code, b"%d" % (count + 0.5), importance)


def _date_formats(scored_at_ms: int) -> tuple[bytes, ...]:
    """Return the date in the formats that occur in practice; each customer has one of them."""
    midnight = datetime.fromtimestamp(scored_at_ms // 1000, UTC)
    day = midnight.strftime("%Y-%m-%d")
    texts = (day, f"{day} 00:00:00", f"{day}T00:00:00Z", f"{day}T00:00:00.000+00:00")
    return (*(f'"{text}"'.encode() for text in texts), b"%d" % scored_at_ms)
