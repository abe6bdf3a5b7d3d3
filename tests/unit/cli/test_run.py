"""How the processor starts and stops: signals at any time, a port in use."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from processor import app
from processor.app import Processor, Telemetry
from processor.cli import run
from processor.cli.run import run_processor
from processor.cli.signals import StopSignal, stop_signal
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics
from processor.telemetry.server import TelemetryServer
from tests.support.clock import ManualClock
from tests.support.settings import settings_with
from tests.support.stream_run import StreamRun, score_record


class EndedError(BaseException):
    """Raised instead of the end of the process; its argument is the exit code."""


def ends(code: int) -> NoReturn:
    raise EndedError(code)


@pytest.fixture
def calls() -> list[str]:
    return []


def test_a_signal_before_the_function_is_set_calls_it_when_it_is_set(
    calls: list[str],
) -> None:
    stop = StopSignal()
    stop.handle(signal.SIGTERM, None)
    assert stop.requested

    stop.on_request(lambda: calls.append("stop"))

    assert calls == ["stop"]


def test_the_function_is_called_once_after_a_signal(calls: list[str]) -> None:
    stop = StopSignal()
    stop.on_request(lambda: calls.append("stop"))
    assert (stop.requested, calls) == (False, [])

    stop.handle(signal.SIGINT, None)

    assert (stop.requested, calls) == (True, ["stop"])


def test_a_second_signal_ends_the_process_at_once(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", ends)
    stop = StopSignal()
    stop.on_request(lambda: calls.append("stop"))
    stop.handle(signal.SIGTERM, None)

    with pytest.raises(EndedError, match="130"):
        stop.handle(signal.SIGINT, None)

    assert calls == ["stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_are_handled_and_handlers_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with stop_signal() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested

    assert signal.getsignal(number) is before


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TelemetryServer]]:
    """Close what the process would leave open until its end."""
    opened: list[TelemetryServer] = []

    def noted(host: str, port: int, metrics: Metrics, health: Health) -> TelemetryServer:
        opened.append(TelemetryServer(host, port, metrics, health))
        return opened[-1]

    monkeypatch.setattr(run, "TelemetryServer", noted)
    yield opened
    for server in opened:
        server.close()


@pytest.mark.usefixtures("servers")
def test_a_signal_while_kafka_is_unavailable_ends_the_start(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(settings: Settings, telemetry: Telemetry) -> Processor:
        del settings, telemetry
        calls.append("try")
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        raise UnavailableError("Kafka", "no broker answers")

    monkeypatch.setattr(run, "SystemClock", ManualClock)
    monkeypatch.setattr(run, "build_processor", unavailable)
    monkeypatch.setattr(os, "_exit", ends)

    with pytest.raises(EndedError, match="0"):
        run_processor(settings_with({"telemetry/port": 0, "telemetry/host": "127.0.0.1"}))

    assert calls == ["try"] * 3


@pytest.mark.usefixtures("servers")
def test_a_fault_of_the_program_ends_the_process_with_70_after_the_source_was_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream_run = StreamRun([[score_record(1)]])

    def failing() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(stream_run.source, "commit", failing)
    monkeypatch.setattr(run, "build_processor", lambda *_: stream_run.processor)
    monkeypatch.setattr(os, "_exit", ends)

    with pytest.raises(EndedError, match="70"):
        run_processor(settings_with({"telemetry/port": 0, "telemetry/host": "127.0.0.1"}))

    assert stream_run.steps[-1] == ("left",)


@pytest.mark.usefixtures("servers")
def test_wrong_settings_that_show_while_running_end_with_2_and_a_sentence_after_the_source_was_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream_run = StreamRun([[score_record(1)]])

    def failing() -> NoReturn:
        raise SettingsError(["kafka.control_topic: run the newer processor."])

    monkeypatch.setattr(stream_run.source, "commit", failing)
    monkeypatch.setattr(run, "build_processor", lambda *_: stream_run.processor)
    monkeypatch.setattr(os, "_exit", ends)

    with pytest.raises(EndedError, match=r"^2$"):
        run_processor(settings_with({"telemetry/port": 0, "telemetry/host": "127.0.0.1"}))

    assert stream_run.steps[-1] == ("left",)
    printed = capsys.readouterr()
    assert "run the newer processor" in printed.out + printed.err


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_last_step_of_the_start_stops_in_order_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stream_run = StreamRun([[score_record(1)]])

    def built(*_: object) -> Processor:
        os.kill(os.getpid(), number)
        return stream_run.processor

    monkeypatch.setattr(run, "build_processor", built)
    monkeypatch.setattr(os, "_exit", ends)

    with pytest.raises(EndedError, match=r"^0$"):
        run_processor(settings_with({"telemetry/port": 0, "telemetry/host": "127.0.0.1"}))

    assert not any(step[0] == "polled" for step in stream_run.steps)
    assert stream_run.steps[-1] == ("left",)


PARTS = {
    "open_control_store": [],
    "KafkaSource": ["open_control_store"],
    "InletSink": ["KafkaSource", "open_control_store"],
    "KafkaDeadLetterSink": ["InletSink", "KafkaSource", "open_control_store"],
    "open_state_store": ["KafkaDeadLetterSink", "InletSink", "KafkaSource", "open_control_store"],
    "Stream": [
        "open_state_store",
        "KafkaDeadLetterSink",
        "InletSink",
        "KafkaSource",
        "open_control_store",
    ],
}


@pytest.mark.parametrize("failing", PARTS)
@pytest.mark.parametrize("error", [UnavailableError("kafka", "x"), SettingsError(["x"])])
def test_where_a_part_cannot_be_built_those_before_it_are_closed_last_first(
    failing: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        def close(self, seconds: float) -> None:
            assert seconds == 0
            closed.append(self._name)

        leave = close

    def build(name: str) -> Callable[..., Part]:
        def built(*_: object, **__: object) -> Part:
            if name == failing:
                raise error
            return Part(name)

        return built

    for name in PARTS:
        monkeypatch.setattr(app, name, build(name))
    settings = settings_with()

    with pytest.raises(type(error)):
        app.build_processor(settings, Telemetry.create(settings, ManualClock()))

    assert closed == PARTS[failing]


@pytest.mark.usefixtures("servers")
def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_with({"telemetry/port": port, "telemetry/host": "127.0.0.1"})

        with pytest.raises(SettingsError) as caught:
            run_processor(settings)

    assert caught.value.problems == [
        f"telemetry: the metrics page cannot be served at 127.0.0.1:{port}: address already in use."
    ]
