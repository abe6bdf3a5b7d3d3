"""How the processor begins and ends: signals at any time, a port that is taken."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from processor.app import Processor, Telemetry
from processor.cli import run
from processor.cli.run import Ending, run_processor, signalled
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics
from processor.telemetry.server import TelemetryServer
from tests.support.clock import ManualClock
from tests.support.settings import settings_with


class EndedError(BaseException):
    """Stands for the end of the process; its argument is the exit code."""


def ends(code: int) -> NoReturn:
    raise EndedError(code)


@pytest.fixture
def asked() -> list[str]:
    return []


def test_a_signal_before_there_is_anybody_to_tell_is_told_as_soon_as_there_is(
    asked: list[str],
) -> None:
    ending = Ending()
    ending.ask(signal.SIGTERM, None)
    assert ending.asked

    ending.tell(lambda: asked.append("stop"))

    assert asked == ["stop"]


def test_nobody_is_told_before_a_signal_and_then_once(asked: list[str]) -> None:
    ending = Ending()
    ending.tell(lambda: asked.append("stop"))
    assert (ending.asked, asked) == (False, [])

    ending.ask(signal.SIGINT, None)

    assert (ending.asked, asked) == (True, ["stop"])


def test_a_second_signal_ends_the_process_at_once(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", ends)
    ending = Ending()
    ending.tell(lambda: asked.append("stop"))
    ending.ask(signal.SIGTERM, None)

    with pytest.raises(EndedError, match="130"):
        ending.ask(signal.SIGINT, None)

    assert asked == ["stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_are_heard_and_handlers_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with signalled() as ending:
        os.kill(os.getpid(), number)
        assert ending.asked

    assert signal.getsignal(number) is before


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TelemetryServer]]:
    """Close what a process would leave open to its own end."""
    opened: list[TelemetryServer] = []

    def noted(host: str, port: int, metrics: Metrics, health: Health) -> TelemetryServer:
        opened.append(TelemetryServer(host, port, metrics, health))
        return opened[-1]

    monkeypatch.setattr(run, "TelemetryServer", noted)
    yield opened
    for server in opened:
        server.close()


@pytest.mark.usefixtures("servers")
def test_a_signal_while_the_world_does_not_answer_ends_the_waiting(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(settings: Settings, telemetry: Telemetry) -> Processor:
        del settings, telemetry
        asked.append("try")
        if len(asked) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        raise UnavailableError("Kafka", "no broker answers")

    monkeypatch.setattr(run, "SystemClock", ManualClock)
    monkeypatch.setattr(run, "build_processor", unavailable)
    monkeypatch.setattr(os, "_exit", ends)

    with pytest.raises(EndedError, match="0"):
        run_processor(settings_with({"telemetry/port": 0, "telemetry/host": "127.0.0.1"}))

    assert asked == ["try"] * 3


@pytest.mark.usefixtures("servers")
def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_with({"telemetry/port": port, "telemetry/host": "127.0.0.1"})

        with pytest.raises(SettingsError) as caught:
            run_processor(settings)

    assert caught.value.problems == [
        f"telemetry: the metrics page cannot be served at 127.0.0.1:{port}: address already in use."
    ]
