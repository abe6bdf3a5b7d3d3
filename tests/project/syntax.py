"""Syntax of text files: a pre-commit hook (`python -m tests.project.syntax FILES`) and a test."""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with a text file: its format, its last line, blanks at a line's end."""
    text = path.read_text(encoding="utf-8")
    try:
        _PARSERS.get(path.suffix, str)(text)
    except (ValueError, yaml.YAMLError) as error:
        yield f"{path}: {error}"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield f"{path}: the file must end with exactly one newline"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip(" \t"):
            yield f"{path}:{number}: blanks at the end of the line"


def _parse_yaml(text: str) -> None:
    for _ in yaml.safe_load_all(text):
        pass


_PARSERS: dict[str, Callable[[str], object]] = {
    ".avsc": json.loads,
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


if __name__ == "__main__":
    found = [problem for name in sys.argv[1:] for problem in problems(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
