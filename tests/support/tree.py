"""The files of the project, and the syntax trees of its code."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

_SKIPPED = {".git", ".venv", "__pycache__", "build", "dist"}


@cache
def files() -> tuple[Path, ...]:
    """Return every file that is or would be checked in; without git every file."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return tuple(p for p in ROOT.rglob("*") if p.is_file() and not _SKIPPED & {*p.parts})
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603  fixed arguments
    return tuple(p for name in listed.stdout.split("\0") if name and (p := ROOT / name).is_file())


@cache
def modules(folder: str = "processor") -> dict[Path, ast.Module]:
    """Return the syntax tree of every module of the processor, or of another folder."""
    return {
        path: ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in files()
        if path.suffix == ".py" and path.is_relative_to(ROOT / folder)
    }


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call in a module, or in a part of one."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
