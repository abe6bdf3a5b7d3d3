"""Packages import downwards only, and each third-party client in its packages only."""

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603  our own tool

    assert done.returncode == 0, done.stdout
