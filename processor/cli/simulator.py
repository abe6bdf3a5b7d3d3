"""`simulator`: an embedded Kafka broker and an AEP simulator, until Ctrl-C."""

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from processor.cli.signals import stop_requested
from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError
from processor.simulator.aep.faults import ScriptedFault, read_script
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from processor.simulator.environment import EnvironmentSettings, SimulatedEnvironment
from processor.simulator.history.history import history

_CUSTOMERS_PER_PARTITION = 600
"""Customers whose history fits into what the broker retains of a partition."""


def simulator(
    *,
    port: Annotated[int, typer.Option(help="Port of the AEP simulator; 0 picks one.")] = 8480,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each input topic.")] = 4,
    customers: Annotated[
        int, typer.Option(min=0, help="First write a history of this many customers.")
    ] = 0,
    faults: Annotated[Path | None, typer.Option(help="A fault script, as JSON.")] = None,
    settings_file: Annotated[
        Path | None, typer.Option(help="Write settings for the processor to this file.")
    ] = None,
) -> int:
    """Run a Kafka broker and an AEP simulator, to use the processor without an Adobe account."""
    console, script = Console(), _script(faults)
    limit = partitions * _CUSTOMERS_PER_PARTITION
    if customers > limit:
        sentence = f"{partitions} partitions retain the history of at most {limit} customers."
        raise SettingsError([sentence])
    aep = AepSimulator(settings=SimulatorSettings(port=port))
    with (
        tempfile.TemporaryDirectory(prefix="simulator-") as folder,
        SimulatedEnvironment(aep, EnvironmentSettings(partitions=partitions)) as environment,
        stop_requested() as stopped,
    ):
        aep.faults.add(*script)
        if customers:
            _write_history(environment, customers, console)
        path = settings_file or Path(folder) / "settings.yaml"
        environment.write_settings(path, Path(folder) / "state")
        _print_addresses(environment, path, console)
        stopped.wait()
    console.print("The simulator has stopped; its data is deleted.")
    return 0


def _script(path: Path | None) -> list[ScriptedFault]:
    try:
        return read_script(path.read_bytes()) if path else []
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError([f"The fault script {path} cannot be read: {error}"]) from error


def _write_history(
    environment: SimulatedEnvironment[AepSimulator], customers: int, console: Console
) -> None:
    feed = environment.feed(wait_for_group=False)
    settings = environment.history_settings(SystemClock().now_ms(), customers=customers)
    with console.status("Writing a scoring history ..."):
        sent = feed.send(history(settings))
    feed.close()
    console.print(f"{sent:,} records of {customers:,} customers are in the topics.")


def _print_addresses(
    environment: SimulatedEnvironment[AepSimulator], settings_file: Path, console: Console
) -> None:
    url, fault = environment.simulator.url, '{"action": "status", "status": 503, "count": 3}'
    console.print("[bold]The simulator is running.[/] Ctrl-C stops it.\n")
    console.print(f"  Kafka       {environment.broker.bootstrap}")
    console.print(f"  AEP         {url}   (with a status page)")
    console.print(f"  settings    {settings_file}\n", soft_wrap=True)
    console.print("Run the processor against it, in another terminal:\n")
    console.print(f"  customer-ai-events run --config {settings_file}\n", soft_wrap=True)
    console.print("Inject a fault into three requests:\n")
    console.print(f"  curl {url}/_simulator/faults -d '{fault}'\n", soft_wrap=True)
