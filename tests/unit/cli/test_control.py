"""What the commands of an operator refuse before anything is asked of Kafka."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from processor.cli.main import app
from tests.support.settings import MINIMAL

SCORES = "customer-ai-scores"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pause"], "--reason"),
        (["pause", "--reason", "  "], "blank"),
        (["skip", f"{SCORES}/0/1"], "--reason"),
        (["skip", f"{SCORES}/0/1", "--reason", ""], "blank"),
        (["skip", SCORES, "--reason", "poison"], "not a position"),
        (["skip", f"{SCORES}/0/x", "--reason", "poison"], "not a position"),
        (["skip", "another-topic/0/1", "--reason", "poison"], "not one of the topics"),
    ],
)
def test_an_order_without_a_reason_or_a_record_exits_with_2(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))

    result = CliRunner().invoke(app, [*arguments, "--config", str(path)])

    assert result.exit_code == 2
    assert sentence in result.output
