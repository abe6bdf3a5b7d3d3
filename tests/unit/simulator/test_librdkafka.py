import ctypes

import confluent_kafka
import pytest

from processor.domain.errors import UnavailableError
from processor.simulator import librdkafka


def test_the_library_of_the_wheel_has_every_function() -> None:
    assert isinstance(librdkafka.open_library(), ctypes.CDLL)


def test_a_missing_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(librdkafka._FUNCTIONS, "rd_kafka_mock_moon", (None, ()))  # noqa: SLF001

    with pytest.raises(UnavailableError, match=r"librdkafka [\d.]+ lacks rd_kafka_mock_moon"):
        librdkafka.open_library()


def test_a_missing_library_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka, "__file__", "/nowhere/x/__init__.py")
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)

    with pytest.raises(UnavailableError, match="no librdkafka"):
        librdkafka.open_library()
