"""Scoring runs as Customer AI writes them: profile rows, dated midnight, with their reasons."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime

from processor.simulator.history.figures import Figures, Prediction
from processor.simulator.history.people import People
from processor.simulator.history.sent import Sent
from processor.simulator.history.visits import QUIET_MS

_FACTOR = b'{"code":"%b","value":"%b","importance":"%b"}'
_MODEL = (
    b'"score":%.1f,"probability":%.3f,"percentileScore":%d,"modelType":"%b","scoreDate":%b,'
    b'"influentialFactors":[%b]'
)
_WHO = b'"identityMap":{"ECID":[{"id":"%b","primary":true}],"CRMID":[{"id":"%b"}]}'
_LEAST = 0.5
_IMPORTANCE = ((3.0, b"high"), (1.5, b"medium"), (_LEAST, b"low"))
_VISITS = b"Counts of webVisit in last 30 days"
_DISTINCT = b"Number of distinct WebPage webVisit in last 30 days"
_VIEWS = b"Counts of productViews in last 30 days"
_ORDERS = b"Counts of order in last 30 days"


class ScoringRuns:
    """Scores everybody by mood and doings, and renders a run's records."""

    def __init__(self, figures: Figures, people: People) -> None:
        self._figures = figures
        self._people = people
        self._names = [prediction.key.encode() for prediction in figures.predictions]

    def run(self, scored_at_ms: int, dice: random.Random) -> Iterator[Sent]:
        """Yield the records of one run, in order of time and without any order of people."""
        figures, people = self._figures, self._people
        bodies = [self._bodies(which, scored_at_ms, dice) for which in figures.predictions]
        order = list(range(people.count))
        dice.shuffle(order)
        step = QUIET_MS / max(1, people.count)
        for place, person in enumerate(order):
            at = scored_at_ms + int(place * step)
            for value in self._rows(person, [body[person] for body in bodies], dice.random()):
                record = Sent(figures.scores_topic, people.crmid[person], value, at)
                yield record
                if dice.random() < figures.repeated:
                    yield record

    def _rows(self, person: int, bodies: list[bytes], drawn: float) -> Iterator[bytes]:
        figures = self._figures
        who = _WHO % (self._people.ecid[person], self._people.crmid[person])
        tenant = figures.tenant.encode()
        named = [b'"%b":{%b}' % pair for pair in zip(self._names, bodies, strict=True)]
        if drawn < figures.flat:
            for prediction, body in zip(figures.predictions, bodies, strict=True):
                yield b'{%b,"prediction":"%b",%b}' % (who, prediction.name.encode(), body)
        elif drawn < figures.flat + figures.several_models:
            yield b'{%b,"%b":{"CustomerAI":{%b}}}' % (who, tenant, b",".join(named))
        else:
            for model in named:
                yield b'{%b,"%b":{"CustomerAI":{%b}}}' % (who, tenant, model)

    def _bodies(self, which: Prediction, scored_at_ms: int, dice: random.Random) -> list[bytes]:
        scores = self._scores(which, dice)
        percentiles = _percentiles(scores)
        dates = _date_forms(scored_at_ms)
        kind, forms = which.model_type.encode(), len(dates)
        return [
            _MODEL
            % (
                score,
                _probability(score),
                percentiles[person],
                kind,
                dates[person % forms],
                self._factors(person),
            )
            for person, score in enumerate(scores)
        ]

    def _scores(self, which: Prediction, dice: random.Random) -> list[float]:
        gauss, warmth, spread = dice.gauss, which.warmth, which.spread
        lift = math.copysign(2.0, warmth)
        return [
            round(max(0.0, min(100.0, 50 + warmth * mood + lift * views + gauss(0, spread))), 1)
            for mood, views in zip(self._people.mood, self._people.views, strict=True)
        ]

    def _factors(self, person: int) -> bytes:
        people = self._people
        done = (
            (people.views[person], _VIEWS),
            (people.visits[person], _VISITS),
            (people.orders[person], _ORDERS),
            (people.visits[person] * 0.6, _DISTINCT),
        )
        return b",".join([_factor(code, count) for count, code in done if count >= _LEAST])


def _percentiles(scores: list[float]) -> list[int]:
    ranks = [0] * len(scores)
    for place, person in enumerate(sorted(range(len(scores)), key=scores.__getitem__)):
        ranks[person] = 1 + place * 99 // len(scores)
    return ranks


def _probability(score: float) -> float:
    return 0.9 / (1 + math.exp((62 - score) / 13))


def _factor(code: bytes, count: float) -> bytes:
    importance = next(word for least, word in _IMPORTANCE if count >= least)
    return _FACTOR % (code, b"%d" % (count + 0.5), importance)


def _date_forms(scored_at_ms: int) -> tuple[bytes, ...]:
    """Return the instant in the forms that are met in the wild; each person keeps to one."""
    midnight = datetime.fromtimestamp(scored_at_ms // 1000, UTC)
    day = midnight.strftime("%Y-%m-%d")
    texts = (day, f"{day} 00:00:00", f"{day}T00:00:00Z", f"{day}T00:00:00.000+00:00")
    return (*(f'"{text}"'.encode() for text in texts), b"%d" % scored_at_ms)
