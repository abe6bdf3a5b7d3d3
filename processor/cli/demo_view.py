"""What `demo` prints: a table while it runs, and a summary at the end."""

import json
from typing import Any, NamedTuple

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from processor.domain.outcome import Outcome
from processor.simulator.environment import slug
from processor.simulator.history.settings import HistorySettings
from processor.telemetry.catalogue import (
    DEAD_LETTERS,
    ITEMS,
    RECORDS_SETTLED,
    SCORE_MOVEMENTS,
    UNACCOUNTED_RECORDS,
)
from processor.telemetry.scrape import MetricSamples

_BUCKETS = ("low", "medium", "high")
_OUTCOMES = {
    Outcome.DELIVERED: "score records whose events AEP accepted",
    Outcome.STORED: "experience events, stored as context",
    Outcome.REPARTITIONED: "experience events, sent to the partition of their person",
    Outcome.DUPLICATE: "delivered before with the same content; not sent again",
    Outcome.FILTERED: "by a named rule",
    Outcome.DEAD_LETTERED: "rejected; the original bytes are in the dead-letter topic",
}


class Snapshot(NamedTuple):
    """The state of the demo at one time: records sent, metrics, and the simulator's counts."""

    seconds: float
    sent: dict[str, int]
    metrics: MetricSamples
    before_last_run: MetricSamples | None
    accepted: dict[str, Any]
    last_event: dict[str, Any] | None

    @property
    def complete(self) -> bool:
        """Return whether every record that was sent is settled."""
        return self.metrics.total(RECORDS_SETTLED) == sum(self.sent.values())


def live_view(settings: HistorySettings, snapshot: Snapshot) -> RenderableType:
    """Return the table that is shown while records are sent."""
    metrics, seconds = snapshot.metrics, snapshot.seconds
    topics = ", ".join(f"{_count(count)} {topic}" for topic, count in sorted(snapshot.sent.items()))
    table = Table.grid(padding=(0, 2))
    table.add_row("sent to Kafka", _count(sum(snapshot.sent.values())), topics)
    settled = metrics.total(RECORDS_SETTLED)
    table.add_row("settled", _count(settled), f"{_count(settled / (seconds or 1))} per second")
    for prediction in settings.predictions:
        done = metrics.total(ITEMS, route=slug(prediction), result="accepted")
        bar = ProgressBar(total=settings.customers * settings.runs, completed=done, width=30)
        table.add_row(prediction.name, _count(done), bar)
    reasons = metrics.by("reason", DEAD_LETTERS)
    table.add_row("dead letters", _count(sum(reasons.values())), ", ".join(sorted(reasons)))
    return Panel(table, title=f"{seconds:.0f} s", title_align="left")


def summary_view(
    settings: HistorySettings, snapshot: Snapshot, metrics_url: str, aep_url: str
) -> RenderableType:
    """Return the summary that is shown at the end."""
    parts: list[RenderableType] = [
        _outcomes(settings, snapshot),
        Columns([_dead_letters(snapshot), _movements(settings, snapshot)], padding=(0, 2)),
    ]
    if snapshot.last_event is not None:
        title = "One event in its dataset (the last that arrived)"
        parts.append(Panel(JSON(json.dumps(snapshot.last_event)), title=title, title_align="left"))
    parts.append(
        f"Metrics [link={metrics_url}]{metrics_url}[/link] (`/metrics`, `/readyz`), simulated AEP "
        f"[link={aep_url}]{aep_url}[/link]; both stop with the demo, `make demo KEEP=1` keeps them."
    )
    return Group(*parts)


def _outcomes(settings: HistorySettings, snapshot: Snapshot) -> Table:
    metrics = snapshot.metrics
    table = Table(title="Records sent, and their outcomes", title_justify="left")
    table.add_column("")
    table.add_column("records", justify="right")
    table.add_column("")
    for topic, count in sorted(snapshot.sent.items()):
        table.add_row(f"sent to `{topic}`", _count(count))
    table.add_section()
    for outcome, meaning in _OUTCOMES.items():
        settled = metrics.total(RECORDS_SETTLED, outcome=outcome)
        table.add_row(outcome, _count(settled), meaning)
    table.add_row("unaccounted", _count(metrics.total(UNACCOUNTED_RECORDS)), "must be 0")
    table.add_section()
    datasets = snapshot.accepted["datasets"].values()
    routes, repeated = len(settings.predictions), sum(each["repeated"] for each in datasets)
    accepted = sum(each["accepted"] for each in datasets)
    table.add_row("events in AEP", _count(accepted), f"in {routes} datasets, one per prediction")
    table.add_row("of these twice", _count(repeated), "the same `_id` again; must be 0")
    table.add_row("failed AEP's validation", _count(snapshot.accepted["failedRows"]), "must be 0")
    table.add_section()
    settled, seconds = metrics.total(RECORDS_SETTLED), snapshot.seconds
    cpu = metrics.total_of("process_cpu_seconds_total")
    table.add_row("records per second", _count(settled / seconds), f"{seconds:.1f} s")
    table.add_row("CPU time", f"{cpu:.1f} s", f"{_count(settled / cpu)} records per CPU second")
    return table


def _dead_letters(snapshot: Snapshot) -> Table:
    table = Table(title="Dead letters by reason", title_justify="left")
    table.add_column("reason")
    table.add_column("dead letters", justify="right")
    for reason, count in sorted(snapshot.metrics.by("reason", DEAD_LETTERS).items()):
        table.add_row(reason, _count(count))
    return table


def _movements(settings: HistorySettings, snapshot: Snapshot) -> Table:
    """Return how customers moved between buckets in the last run."""
    prediction = settings.predictions[0]
    title = f"{prediction.name}: movements between the last two runs"
    table = Table(title=title, title_justify="left")
    table.add_column("from \\ to")
    for bucket in _BUCKETS:
        table.add_column(bucket, justify="right")
    route, before_last_run = slug(prediction), snapshot.before_last_run
    now = snapshot.metrics.by("movement", SCORE_MOVEMENTS, route=route)
    before = before_last_run.by("movement", SCORE_MOVEMENTS, route=route) if before_last_run else {}
    for old in _BUCKETS:
        names = [f"stayed {old}" if old == new else f"{old} to {new}" for new in _BUCKETS]
        table.add_row(old, *(_count(now.get(each, 0) - before.get(each, 0)) for each in names))
    return table


def _count(number: float) -> str:
    return f"{number:,.0f}"
