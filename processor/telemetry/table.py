"""The catalogue as a table for people."""

from processor.telemetry.catalogue import CATALOGUE, Kind, MetricRow
from processor.telemetry.labels import values_of
from processor.telemetry.metrics import PREFIX

__all__ = ["exposed_name", "metric_table"]


def metric_table() -> str:
    """Render the catalogue as a Markdown table, in the catalogue's order."""
    head = "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n"
    return head + "".join(_line(row) for row in CATALOGUE)


def exposed_name(row: MetricRow) -> str:
    """Return the name under which Prometheus sees a metric."""
    return f"{PREFIX}{row.name}{'_total' if row.kind is Kind.COUNTER else ''}"


def _line(row: MetricRow) -> str:
    labels = "; ".join(_label(row, label) for label in row.labels)
    return f"| `{exposed_name(row)}` | {row.kind} | {labels} | {row.meaning} |\n"


def _label(row: MetricRow, label: str) -> str:
    values = values_of(row.name, label)
    return f"{label}: {', '.join(values)}" if values else label
