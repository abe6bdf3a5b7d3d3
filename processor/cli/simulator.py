"""`sandbox`: an embedded broker and an AEP simulator to play with, until Ctrl-C."""

import signal
import tempfile
import threading
from pathlib import Path

import msgspec
from rich.console import Console

from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError
from processor.simulator.aep.faults import ScriptedFault, read_script
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from processor.simulator.environment import EnvironmentSettings, SimulatedEnvironment
from processor.simulator.history.history import history

_CUSTOMERS_A_PARTITION = 600
"""Histories of so many customers stay whole in what the broker keeps of a partition."""


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command can be told."""

    port: int = 8480
    """Of the simulator; Kafka's is random."""
    partitions: int = 4
    customers: int = 0
    """Put a history of so many customers into the topics first."""
    faults: Path | None = None
    """A fault script for the simulator, as JSON."""
    settings_file: Path | None = None
    """Where the processor's settings are written; else into a folder that goes with the environment."""


def run_simulator(options: SimulatorOptions, console: Console) -> None:
    """Run broker and simulator until SIGINT or SIGTERM, and say where they are.

    Raises `UnavailableError` where the port is taken, `SettingsError` for options that can not be.
    """
    script = _script(options)
    simulator = AepSimulator(settings=SimulatorSettings(port=options.port))
    settings = EnvironmentSettings(partitions=options.partitions)
    with (
        tempfile.TemporaryDirectory(prefix="sandbox-") as folder,
        SimulatedEnvironment(simulator, settings) as environment,
    ):
        simulator.faults.add(*script)
        if options.customers:
            _fill(environment, options.customers, console)
        place = options.settings_file or Path(folder) / "settings.yaml"
        environment.write_settings(place, Path(folder) / "state")
        _say_where(environment, place, console)
        _wait_for_signal()
    console.print("The environment is gone, with everything in it.")


def _script(options: SimulatorOptions) -> list[ScriptedFault]:
    most = options.partitions * _CUSTOMERS_A_PARTITION
    if options.customers > most:
        sentence = f"{options.partitions} partitions keep the history of {most} customers at most."
        raise SettingsError([sentence])
    if options.faults is None:
        return []
    try:
        return read_script(options.faults.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            [f"The fault script {options.faults} can not be read: {error}"]
        ) from error


def _fill(
    environment: SimulatedEnvironment[AepSimulator], customers: int, console: Console
) -> None:
    feed = environment.feed(wait_for_group=False)
    figures = environment.history_settings(SystemClock().now_ms(), customers=customers)
    with console.status("Writing a scoring history ..."):
        sent = feed.send(history(figures))
    feed.close()
    console.print(f"{sent:,} records of {customers:,} customers are in the topics.")


def _say_where(
    environment: SimulatedEnvironment[AepSimulator], settings_file: Path, console: Console
) -> None:
    console.print("[bold]The environment is up.[/] Ctrl-C ends it.\n")
    console.print(f"  Kafka       {environment.broker.bootstrap}")
    console.print(f"  AEP         {environment.simulator.url}   (a page for people, too)")
    console.print(f"  settings    {settings_file}\n", soft_wrap=True)
    console.print("Run the processor against it, in another terminal:\n")
    console.print(f"  customer-ai-events run --config {settings_file}\n", soft_wrap=True)
    console.print("Make trouble, for three requests:\n")
    fault = '{"action": "status", "status": 503, "count": 3}'
    console.print(
        f"  curl {environment.simulator.url}/_simulator/faults -d '{fault}'\n", soft_wrap=True
    )


def _wait_for_signal() -> None:
    done = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: done.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        done.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
