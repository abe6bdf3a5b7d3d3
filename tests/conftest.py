"""What all tests share: where they run, and logging left as it was."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# A law is about values; how long an example takes is the machine's business.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


class KafkaInOneWorker(LoadScopeScheduling):
    """Tests that share a real Kafka run in one worker, so that there is one broker.

    Marks cannot say it: pytest 9.2 ignores the groups of pytest-xdist 3.8 without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "kafka" if nodeid.startswith("tests/kafka/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> KafkaInOneWorker:
    """Called by pytest-xdist once the workers are known."""
    return KafkaInOneWorker(config, log)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)
    structlog.reset_defaults()
