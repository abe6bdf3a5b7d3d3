"""What the demo shows: a table while it runs, and a summary a newcomer understands."""

import json
from typing import Any, NamedTuple

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from processor.sandbox.history.figures import Figures
from processor.sandbox.sandbox import slug
from processor.telemetry.scrape import Reading

__all__ = ["Moment", "live_view", "summary_view"]

_BUCKETS = ("low", "medium", "high")


class Moment(NamedTuple):
    """What was seen at one moment: by us, on the metrics page, and by the simulator."""

    seconds: float
    sent: dict[str, int]
    now: Reading
    before_last: Reading | None
    judge: dict[str, Any]
    sample: dict[str, Any] | None

    @property
    def all_accounted(self) -> bool:
        """Return whether every record that was sent has its fate."""
        return self.now.total("records_settled_total") == sum(self.sent.values())


def live_view(figures: Figures, moment: Moment) -> RenderableType:
    """Return the table that is shown while the history plays."""
    now = moment.now
    table = Table.grid(padding=(0, 2))
    table.add_row("sent to Kafka", _count(sum(moment.sent.values())), _topics(moment))
    settled = now.total("records_settled_total")
    table.add_row("settled", _count(settled), _rate(settled, moment.seconds))
    for prediction in figures.predictions:
        done = now.total("items_total", route=slug(prediction), outcome="accepted")
        bar = ProgressBar(total=figures.customers * figures.runs, completed=done, width=30)
        table.add_row(prediction.name, _count(done), bar)
    dead = now.by("reason", "dead_letters_total")
    table.add_row("dead letters", _count(sum(dead.values())), ", ".join(sorted(dead)))
    return Panel(table, title=f"{moment.seconds:.0f} s", title_align="left")


def summary_view(figures: Figures, moment: Moment, page: str, aep: str) -> RenderableType:
    """Return what there is to say when all is played."""
    parts: list[RenderableType] = [
        _account(figures, moment),
        Columns([_refused(moment), _movements(figures, moment)], padding=(0, 2)),
    ]
    if moment.sample is not None:
        title = "One event, as the dataset has it (the last that arrived)"
        parts.append(Panel(JSON(json.dumps(moment.sample)), title=title, title_align="left"))
    parts.append(
        f"Metrics [link={page}]{page}[/link] (`/metrics`, `/readyz`), the simulated AEP "
        f"[link={aep}]{aep}[/link]; both end with the demo, `make demo KEEP=1` leaves them up."
    )
    return Group(*parts)


def _account(figures: Figures, moment: Moment) -> Table:
    now = moment.now
    table = Table(title="What went in, and what became of it", title_justify="left")
    table.add_column("")
    table.add_column("records", justify="right")
    table.add_column("")
    for topic, count in sorted(moment.sent.items()):
        table.add_row(f"sent to `{topic}`", _count(count))
    table.add_section()
    for fate, meaning in _FATES.items():
        table.add_row(fate, _count(now.total("records_settled_total", fate=fate)), meaning)
    table.add_row("unaccounted for", _count(now.total("unaccounted_records")), "has to be 0")
    table.add_section()
    datasets = moment.judge["datasets"].values()
    accepted = sum(each["accepted"] for each in datasets)
    repeated = sum(each["repeated"] for each in datasets)
    routes = len(figures.predictions)
    table.add_row("events in AEP", _count(accepted), f"in {routes} datasets, one a prediction")
    table.add_row("of these twice", _count(repeated), "the same `_id` again; has to be 0")
    table.add_row("failed AEP's validation", _count(moment.judge["failedRows"]), "has to be 0")
    table.add_section()
    settled = now.total("records_settled_total")
    cpu = now.total_of("process_cpu_seconds_total")
    table.add_row("records a second", _count(settled / moment.seconds), f"{moment.seconds:.1f} s")
    table.add_row("processor time", f"{cpu:.1f} s", f"{_count(settled / cpu)} records a CPU second")
    return table


_FATES = {
    "delivered": "score records whose events AEP accepted",
    "remembered": "experience events, kept as context",
    "merged": "came a second time, unchanged: not sent again",
    "filtered": "by a named rule",
    "dead": "rejected, with their original bytes, to the dead-letter topic",
}


def _refused(moment: Moment) -> Table:
    table = Table(title="Dead letters, and why", title_justify="left")
    table.add_column("reason")
    table.add_column("letters", justify="right")
    for reason, count in sorted(moment.now.by("reason", "dead_letters_total").items()):
        table.add_row(reason, _count(count))
    return table


def _movements(figures: Figures, moment: Moment) -> Table:
    """Return how people moved between buckets from the run before to the last one."""
    title = f"{figures.predictions[0].name}: moves between the last two runs"
    table = Table(title=title, title_justify="left")
    table.add_column("from \\ to")
    for bucket in _BUCKETS:
        table.add_column(bucket, justify="right")
    route = slug(figures.predictions[0])
    now = moment.now.by("movement", "score_movements_total", route=route)
    before = moment.before_last
    then = before.by("movement", "score_movements_total", route=route) if before else {}
    for old in _BUCKETS:
        names = [f"stayed {old}" if old == new else f"{old} to {new}" for new in _BUCKETS]
        table.add_row(old, *(_count(now.get(each, 0) - then.get(each, 0)) for each in names))
    return table


def _topics(moment: Moment) -> str:
    return ", ".join(f"{_count(count)} {topic}" for topic, count in sorted(moment.sent.items()))


def _rate(count: float, seconds: float) -> str:
    return f"{_count(count / seconds)} a second" if seconds else ""


def _count(number: float) -> str:
    return f"{number:,.0f}"
