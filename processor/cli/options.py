"""Options that several commands share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from processor.outcome import Reason, Stage

__all__ = ["DEFAULT", "Config", "Json", "Origin", "Reasons", "Reveal", "Since", "Stages", "Until"]

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="CAI_CONFIG", help="The settings file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show persons and payloads.")]
Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="May be repeated.")]
Stages = Annotated[list[Stage] | None, typer.Option("--stage", help="May be repeated.")]
Since = Annotated[datetime | None, typer.Option(help="Rejected at or after (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Rejected before (UTC).")]
Origin = Annotated[
    str | None,
    typer.Option(help="topic, topic/partition or topic/partition/first-last."),
]
DEFAULT = Path("settings.yaml")
