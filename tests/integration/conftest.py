"""What the integration tests share."""

from collections.abc import Iterator

import pytest

from tests.support.kafka_io import leave_groups


@pytest.fixture(autouse=True)
def _groups_are_left() -> Iterator[None]:
    yield
    leave_groups()
