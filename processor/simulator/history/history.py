"""The whole history, week by week: events, then the scoring run that follows from them."""

import random
from collections.abc import Iterator

from processor.simulator.history.figures import WEEK_MS, Figures
from processor.simulator.history.people import People
from processor.simulator.history.poison import poisoned
from processor.simulator.history.scoring import ScoringRuns
from processor.simulator.history.sent import Sent
from processor.simulator.history.visits import QUIET_MS, Visits


def history(figures: Figures) -> Iterator[Sent]:
    """Yield the records of a history in order of their time, keyed by customer on both topics.

    Each week's experience events come first, then the scores of the run at its end; the bad records
    come last. Never holds more than one week of plans and one run of scores.
    """
    people = People(figures.customers, figures.seed)
    visits, runs = Visits(figures, people), ScoringRuns(figures, people)
    for run in range(figures.runs):
        dice = random.Random(f"week/{figures.seed}/{run}")  # noqa: S311  repeatable, not secret
        scored_at_ms = figures.run_ms(run)
        yield from visits.week(scored_at_ms - WEEK_MS, dice)
        yield from runs.run(scored_at_ms, dice)
        people.drift(dice)
    yield from poisoned(figures, figures.last_run_ms + QUIET_MS)
