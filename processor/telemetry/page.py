"""The page for people: is it well, what has become of the records, where are the numbers."""

from html import escape
from string import Template

from processor.telemetry.health import Verdict
from processor.telemetry.metrics import Metrics

__all__ = ["page"]

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Customer AI events</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem;
         color: #1d2433; background: #fff }
  h1 { font-size: 1.25rem; margin: 0 }
  p { margin: .25rem 0 1.5rem; color: #57606f }
  table { border-collapse: collapse; width: 100% }
  td { padding: .4rem 0; border-bottom: 1px solid #e4e7ec }
  td:last-child { text-align: right; font-variant-numeric: tabular-nums }
  nav { margin-top: 1.5rem } a { margin-right: 1rem }
  .yes { color: #0b6b3a } .no { color: #a61b1b }
  @media (prefers-color-scheme: dark) {
    body { color: #e6e9ef; background: #14181f } p { color: #9aa4b2 }
    td { border-color: #2a313c } a { color: #8ab4ff } .yes { color: #5fd08f } .no { color: #ff8f8f }
  }
</style>
<h1 class="$mood">$state</h1>
<p>$reason $live</p>
<table>
$rows</table>
<nav>
  <a href="/metrics">Metrics</a><a href="/livez">Liveness</a><a href="/readyz">Readiness</a>
</nav>
</html>
""")

_ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Records consumed", "records_consumed", {}),
    ("delivered", "records_settled", {"fate": "delivered"}),
    ("remembered", "records_settled", {"fate": "remembered"}),
    ("merged", "records_settled", {"fate": "merged"}),
    ("filtered", "records_settled", {"fate": "filtered"}),
    ("dead-lettered", "records_settled", {"fate": "dead"}),
    ("given back", "records_released", {}),
    ("under way", "records_unsettled", {}),
    ("unaccounted for", "unaccounted_records", {}),
    ("Requests sent", "requests", {}),
    ("Events accepted", "items", {"outcome": "accepted"}),
    ("Lag in Kafka", "lag_records", {}),
)


def page(metrics: Metrics, live: Verdict, ready: Verdict) -> str:
    """Render the page; everything in it is ours, and escaped all the same."""
    rows = "".join(
        f"<tr><td>{escape(words)}</td><td>{metrics.total(name, **labels):,.0f}</td></tr>\n"
        for words, name, labels in _ROWS
    )
    return _PAGE.substitute(
        mood="yes" if live.ok and ready.ok else "no",
        state=escape(ready.state.capitalize() if live.ok else "Stalled"),
        reason=escape(ready.reason),
        live=escape(live.reason),
        rows=rows,
    )
