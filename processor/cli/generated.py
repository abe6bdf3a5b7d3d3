"""The files of the repository that are generated from the code; `make generated` writes them.

Run as a module in the root of the repository; a test compares the files with the code.
"""

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from processor.cli.command import MEANINGS
from processor.cli.main import app
from processor.settings.describe import editor_schema, reference
from processor.telemetry.tables import log_table, metric_table

_END = "<!-- end -->\n"
_NAME = "customer-ai-events"
_WIDTH = 120


def command_reference() -> str:
    """Return all commands with help, arguments and options, and the exit codes, as Markdown."""
    lines = [
        "# Commands",
        "",
        "Generated from the help of the command line by `make generated`.",
        "",
        *_commands(typer.main.get_command(app), _NAME),
        "## Exit codes",
        "",
        "| Code | Meaning |",
        "| --- | --- |",
        *(f"| {code:d} | {meaning} |" for code, meaning in MEANINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:  # noqa: ANN401  typer's copy of click
    if isinstance(command, TyperGroup):
        for below, each in command.commands.items():
            yield from _commands(each, f"{name} {below}")
        return
    context = typer.Context(command, info_name=name, terminal_width=_WIDTH)
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield from (f"## `{name.removeprefix(_NAME).strip()}`", "", f"    {usage}", "")
    yield from (*textwrap.wrap(" ".join((command.help or "").split()), _WIDTH), "")
    records = [record for each in command.params if (record := each.get_help_record(context))]
    if records:
        yield from ("| Argument or option | Meaning |", "| --- | --- |")
        for record in records:
            names, meaning = (text.replace("|", r"\|").replace("  ", " ") for text in record)
            yield f"| `{names}` | {meaning} |"
        yield ""


def _with_tables(text: str) -> str:
    for name, table in {"metrics": metric_table(), "log codes": log_table()}.items():
        begin = f"<!-- generated: {name} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(_END)
        text = f"{before}{begin}\n{table}\n{_END}{after}"
    return text


GENERATED: dict[str, Callable[[str], str]] = {
    "deploy/commands.md": lambda _: command_reference(),
    "deploy/config/reference.yaml": lambda _: reference(),
    "deploy/config/settings.schema.json": lambda _: editor_schema(),
    "deploy/observability/README.md": _with_tables,
}
"""Each file, and the function that makes its new text from its old one."""


def write_generated(root: Path) -> None:
    """Write all generated files below the root of the repository."""
    for name, make in GENERATED.items():
        path = root / name
        path.write_text(make(path.read_text("utf-8") if path.exists() else ""), encoding="utf-8")


if __name__ == "__main__":
    write_generated(Path.cwd())
