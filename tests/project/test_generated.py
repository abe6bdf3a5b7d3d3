"""Files that are made from the code are what the code makes today."""

from pathlib import Path

import pytest

from tests.project.generated import GENERATED


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    """`make generated` writes them anew."""
    text = path.read_text(encoding="utf-8")

    assert GENERATED[path](text) == text
