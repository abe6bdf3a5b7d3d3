"""`check`: whether the settings are right, and the world is as they expect it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.clock import SystemClock
from processor.commands.check_offline import offline_findings
from processor.commands.check_online import online_findings
from processor.errors import SettingsError
from processor.finding import Finding, Mark
from processor.settings import TelemetrySettings
from processor.settings.load import load_settings
from processor.settings.secrets import secret_texts
from processor.telemetry.logs import configure_logs

__all__ = ["check_settings", "exit_code"]

_SIGNS = {
    Mark.OK: Text("ok", "green"),
    Mark.WARN: Text("look", "yellow"),
    Mark.FAIL: Text("FAIL", "bold red"),
    Mark.SKIP: Text("-", "dim"),
}
_BROKEN = 2
_QUIET = TelemetrySettings(log_level="error", log_format="console")


def check_settings(
    config: Path,
    *,
    online: bool,
    as_json: bool,
    seconds: float = 5.0,
    console: Console | None = None,
) -> int:
    """Print what was found and return 0 where all is well, 1 for problems, 2 for bad settings.

    `online` asks Kafka, the registry, IMS and the inlets too, each for so many seconds at most;
    nothing is written anywhere, and no event is sent.
    """
    shown = console or Console()
    try:
        settings = load_settings(config)
    except SettingsError as error:
        problems = [Finding(str(config), Mark.FAIL, problem) for problem in error.problems]
        _show(problems, shown, as_json=as_json)
        return _BROKEN
    findings = [Finding(str(config), Mark.OK, "The settings can be read and agree.")]
    findings += offline_findings(settings)
    if online and exit_code(findings) == 0:
        clock = SystemClock()
        configure_logs(_QUIET, clock, secrets=secret_texts(settings))
        findings += online_findings(settings, clock, seconds)
    _show(findings, shown, as_json=as_json)
    return exit_code(findings)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 where anything failed, else 0."""
    return int(any(finding.mark is Mark.FAIL for finding in findings))


def _show(findings: Iterable[Finding], console: Console, *, as_json: bool) -> None:
    if as_json:
        rows = [finding._asdict() for finding in findings]
        console.out(msgspec.json.encode(rows).decode(), highlight=False)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for finding in findings:
        told = Text(finding.sentence)
        if finding.fix and finding.mark is not Mark.OK:
            told.append(f"\n{finding.fix}", "dim")
        table.add_row(_SIGNS[finding.mark], Text(finding.name), told)
    console.print(table)
