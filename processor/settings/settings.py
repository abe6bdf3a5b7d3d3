"""Settings: all of them; telemetry and the stop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from processor.settings.aep import AepSettings, PlannedRoute, PredictionSettings, RouteSettings
from processor.settings.kafka import DeadLetterSettings, KafkaSettings, RegistrySettings
from processor.settings.score import (
    EventSettings,
    IdentitySettings,
    JoinSettings,
    ReadingSettings,
)
from processor.settings.section import Section


class TelemetrySettings(Section):
    """Metrics, probes and logs."""

    host: str = "127.0.0.1"
    """Address of the metrics server; `0.0.0.0` in a container."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9400
    """Serves `/metrics`, `/livez` and `/readyz`; 0 picks a free port, which is logged."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""
    log_format: Literal["json", "console"] = "json"
    """JSON lines for machines, `console` for people."""
    live_seconds: Annotated[float, Field(gt=0)] = 60.0
    """`/livez` fails if the main loop made no progress for this long."""


class StopSettings(Section):
    """Time limits of a clean stop: it takes at most their sum, whatever is unavailable."""

    drain_seconds: Annotated[float, Field(ge=0)] = 15.0
    """Time for the batches in progress to settle."""
    commit_seconds: Annotated[float, Field(ge=0)] = 3.0
    """Time for the last commit to be acknowledged."""
    close_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Time to close the Kafka clients."""


class CommonSettings(Section):
    """All settings, whether or not the routes are provisioned."""

    kafka: KafkaSettings
    registry: RegistrySettings = RegistrySettings()
    reading: ReadingSettings = ReadingSettings()
    identity: IdentitySettings = IdentitySettings()
    event: EventSettings
    join: JoinSettings = JoinSettings()
    aep: AepSettings
    routes: Annotated[Sequence[PredictionSettings], Field(min_length=1)]
    routes_file: Path | None = None
    """File in which `provision apply` writes complete routes, relative to this one, such as
    `routes.yaml`. It has no secrets and belongs into version control. What a route does not say
    here is taken from there."""
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    stop: StopSettings = StopSettings()


class Settings(CommonSettings):
    """All settings of the processor."""

    routes: Annotated[list[RouteSettings], Field(min_length=1)]


class PlannedSettings(CommonSettings):
    """The settings of the commands that prepare AEP: routes may lack ids of what is to be made."""

    routes: Annotated[list[PlannedRoute], Field(min_length=1)]
