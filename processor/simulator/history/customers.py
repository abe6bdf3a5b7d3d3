"""The customers, and what they do in a week, as experience events in order of time."""

import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate

from processor.simulator.history.event_templates import EVENT_TYPES, INPUTS, render_templates
from processor.simulator.history.settings import DAY_MS, WEEK_MS, HistorySettings, InputRecord

TIERS = (b"bronze", b"silver", b"gold")
_SHARES = (0.6, 0.9, 1.0)
_DRIFT = 0.28
_WEEKLY_DECAY = 0.6


class Customers:
    """All customers, by number; one list per attribute.

    `mood` is from -1 (about to leave) to 1 (about to buy) and drifts from week to week. It
    influences both what a customer does and the scores, so the events explain the scores.
    """

    def __init__(self, count: int, seed: int) -> None:
        rng = random.Random(f"people/{seed}")  # noqa: S311  repeatable, not secret
        self.count = count
        self.ecid = [b"%038d" % rng.randrange(10**37, 10**38) for _ in range(count)]
        self.crmid = [b"C%08d" % (40_000_000 + number) for number in range(count)]
        self.tier = [_tier(rng.random()) for _ in range(count)]
        self.mood = [max(-1.0, min(1.0, rng.gauss(-0.1, 0.45))) for _ in range(count)]
        self.visits = [0.0] * count
        self.views = [0.0] * count
        self.orders = [0.0] * count

    def drift(self, rng: random.Random) -> None:
        """Advance a week: moods change, and older actions count less (scores look back 30 days)."""
        gauss = rng.gauss
        self.mood = [max(-1.0, min(1.0, mood * 0.97 + gauss(0.0, _DRIFT))) for mood in self.mood]
        self.visits = [count * _WEEKLY_DECAY for count in self.visits]
        self.views = [count * _WEEKLY_DECAY for count in self.views]
        self.orders = [count * _WEEKLY_DECAY for count in self.orders]


def _tier(draw: float) -> bytes:
    return next(tier for tier, share in zip(TIERS, _SHARES, strict=True) if draw <= share)


SCORING_WINDOW_MS = 2 * 3_600_000
"""The first two hours of a week: the scoring run is written then, and there are no visits."""
_MINUTES = [b"%02d:%02d" % divmod(minute, 60) for minute in range(1_440)]
_SECONDS = [b":%02d.%03dZ" % (second, 7 * second) for second in range(60)]
_LAST_TYPE = len(EVENT_TYPES) - 1
_VIEWS = {"view", "checkout", "order"}
_BEHAVIOUR = tuple(
    (limit, tuple(accumulate(shares)))
    for limit, shares in (
        (-0.3, (0.50, 0.06, 0.08, 0.01, 0.00, 0.35)),
        (0.3, (0.50, 0.28, 0.12, 0.05, 0.02, 0.03)),
        (1.0, (0.27, 0.42, 0.09, 0.12, 0.10, 0.00)),
    )
)
"""Upper limit of the mood, and cumulative shares of the events, in the order of `EVENT_TYPES`."""


class Visits:
    """Generates the experience events of a week, and counts them in `Customers` for the scores."""

    def __init__(self, settings: HistorySettings, customers: Customers) -> None:
        self._settings = settings
        self._customers = customers
        self._templates = render_templates(settings.tenant)
        self._inputs = list(accumulate(share for share, _ in INPUTS))

    def week(self, start_ms: int, rng: random.Random) -> Iterator[InputRecord]:
        """Yield the events of the week that starts at `start_ms`."""
        days = [_day(start_ms + day * DAY_MS) for day in range(8)]
        topic, customers, draw = self._settings.events_topic, self._customers, rng.random
        templates, (analytics, audiences, experience, _) = self._templates, self._inputs
        for time_ms, customer, type_index in sorted(self._plan(rng)):
            drawn = draw()
            source = (drawn > analytics) + (drawn > audiences) + (drawn > experience)
            pages = templates[source][type_index]
            second, minute = time_ms // 1_000 % 60, time_ms // 60_000 % 1_440
            args: tuple[bytes, ...] = (
                b"%032X" % rng.getrandbits(128),
                b"%bT%b%b" % (days[time_ms // DAY_MS], _MINUTES[minute], _SECONDS[second]),
                customers.ecid[customer],
                customers.crmid[customer],
                customers.tier[customer],
            )
            if EVENT_TYPES[type_index].order:
                args = (*args, b"O%d" % rng.getrandbits(40))
            value = pages[int(draw() * len(pages))] % args
            yield InputRecord(topic, customers.crmid[customer], value, start_ms + time_ms)

    def _plan(self, rng: random.Random) -> Iterator[tuple[int, int, int]]:
        customers, mean, draw = self._customers, self._settings.visits, rng.random
        span = WEEK_MS - SCORING_WINDOW_MS
        for customer, mood in enumerate(customers.mood):
            shares = _shares(mood)
            for _ in range(int(mean * (0.5 + abs(mood)) + draw())):
                type_index = min(bisect(shares, draw()), _LAST_TYPE)
                name = EVENT_TYPES[type_index].name
                customers.visits[customer] += 1
                customers.views[customer] += name in _VIEWS
                customers.orders[customer] += name == "order"
                yield SCORING_WINDOW_MS + int(draw() * span), customer, type_index


def _shares(mood: float) -> tuple[float, ...]:
    return next(shares for limit, shares in _BEHAVIOUR if mood <= limit)


def _day(at_ms: int) -> bytes:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d").encode()
