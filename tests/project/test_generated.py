"""Generated files are equal to what the code generates now; `make generated` writes them."""

import pytest

from processor.cli.generated import GENERATED
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert GENERATED[name](text) == text
