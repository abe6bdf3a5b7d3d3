"""The short form of the fault campaign; `make chaos` runs the long one."""

from pathlib import Path

import pytest

from tests.chaos import campaign
from tests.chaos.campaign import Plan
from tests.support import java


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_is_lost_wrong_or_committed_too_early_while_everything_fails(
    tmp_path: Path,
) -> None:
    java.require()
    with campaign.broker(tmp_path) as kafka:
        result = campaign.run(Plan(seed=1, seconds=20), kafka, tmp_path)

    assert result.passed, str(result)
