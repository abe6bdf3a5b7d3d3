"""What customers do in a week, as experience events in order of time."""

import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate

from processor.simulator.history.figures import DAY_MS, WEEK_MS, Figures
from processor.simulator.history.people import People
from processor.simulator.history.sent import Sent
from processor.simulator.history.templates import ACTS, INPUTS, render_templates

QUIET_MS = 2 * 3_600_000
"""Nobody visits in the first two hours of a week: the scoring run is published then."""
_MINUTES = [b"%02d:%02d" % divmod(minute, 60) for minute in range(1_440)]
_SECONDS = [b":%02d.%03dZ" % (second, 7 * second) for second in range(60)]
_LAST_ACT = len(ACTS) - 1
_VIEWS = {"view", "checkout", "order"}
_HABITS = tuple(
    (most, tuple(accumulate(shares)))
    for most, shares in (
        (-0.3, (0.50, 0.06, 0.08, 0.01, 0.00, 0.35)),
        (0.3, (0.50, 0.28, 0.12, 0.05, 0.02, 0.03)),
        (1.0, (0.27, 0.42, 0.09, 0.12, 0.10, 0.00)),
    )
)
"""Up to which mood, and what such customers do, in the order of `ACTS`."""


class Visits:
    """Renders weeks; counts on the people what their scores will be explained by."""

    def __init__(self, figures: Figures, people: People) -> None:
        self._figures = figures
        self._people = people
        self._templates = render_templates(figures.tenant)
        self._inputs = list(accumulate(share for share, _ in INPUTS))

    def week(self, start_ms: int, dice: random.Random) -> Iterator[Sent]:
        """Yield the events of the week that starts at `start_ms`."""
        days = [_day(start_ms + day * DAY_MS) for day in range(8)]
        topic, people, draw = self._figures.events_topic, self._people, dice.random
        templates, (analytics, audiences, experience, _) = self._templates, self._inputs
        for at, person, act in sorted(self._plan(dice)):
            drawn = draw()
            kind = (drawn > analytics) + (drawn > audiences) + (drawn > experience)
            pages = templates[kind][act]
            second, minute = at // 1_000 % 60, at // 60_000 % 1_440
            args: tuple[bytes, ...] = (
                b"%032X" % dice.getrandbits(128),
                b"%bT%b%b" % (days[at // DAY_MS], _MINUTES[minute], _SECONDS[second]),
                people.ecid[person],
                people.crmid[person],
                people.tier[person],
            )
            if ACTS[act].order:
                args = (*args, b"O%d" % dice.getrandbits(40))
            value = pages[int(draw() * len(pages))] % args
            yield Sent(topic, people.crmid[person], value, start_ms + at)

    def _plan(self, dice: random.Random) -> Iterator[tuple[int, int, int]]:
        people, mean, draw = self._people, self._figures.visits, dice.random
        span = WEEK_MS - QUIET_MS
        for person, mood in enumerate(people.mood):
            habits = _habits(mood)
            for _ in range(int(mean * (0.5 + abs(mood)) + draw())):
                act = min(bisect(habits, draw()), _LAST_ACT)
                name = ACTS[act].name
                people.visits[person] += 1
                people.views[person] += name in _VIEWS
                people.orders[person] += name == "order"
                yield QUIET_MS + int(draw() * span), person, act


def _habits(mood: float) -> tuple[float, ...]:
    return next(habits for most, habits in _HABITS if mood <= most)


def _day(at_ms: int) -> bytes:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d").encode()
