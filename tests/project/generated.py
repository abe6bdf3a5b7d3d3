"""The files that are made from the code; `make generated` writes them anew."""

from collections.abc import Callable
from pathlib import Path

from processor.settings.describe import editor_schema, reference
from processor.telemetry.catalogue import metric_table
from processor.telemetry.log_codes import log_table
from tests.support.paths import ROOT

__all__ = ["GENERATED"]

END = "<!-- end -->\n"


def _tables(text: str) -> str:
    for name, table in {"metrics": metric_table(), "log codes": log_table()}.items():
        begin = f"<!-- generated: {name} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}\n{table}\n{END}{after}"
    return text


GENERATED: dict[Path, Callable[[str], str]] = {
    ROOT / "deploy/config/reference.yaml": lambda _: reference(),
    ROOT / "deploy/config/settings.schema.json": lambda _: editor_schema(),
    ROOT / "deploy/observability/README.md": _tables,
}
"""Each file, and what makes its text from the one it has."""


def main() -> None:
    """Write all of them."""
    for path, make in GENERATED.items():
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(make(text), encoding="utf-8")


if __name__ == "__main__":
    main()
