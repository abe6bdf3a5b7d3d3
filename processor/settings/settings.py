"""Settings: the whole page."""

from typing import Annotated, Literal

from pydantic import Field

from processor.settings.aep import AepSettings, RouteSettings
from processor.settings.kafka import DeadLetterSettings, KafkaSettings, RegistrySettings
from processor.settings.score import (
    EventSettings,
    IdentitySettings,
    JoinSettings,
    ReadingSettings,
)
from processor.settings.section import Section


class TelemetrySettings(Section):
    """What SREs see."""

    host: str = "127.0.0.1"
    """Address of the little server; `0.0.0.0` in a container."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9400
    """Serves `/metrics`, `/livez` and `/readyz`; 0 picks a free port and logs it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""
    log_format: Literal["json", "console"] = "json"
    """JSON lines for machines, `console` for people."""
    live_seconds: Annotated[float, Field(gt=0)] = 60.0
    """`/livez` fails when the main loop has not turned for so long."""


class StopSettings(Section):
    """A clean stop is over in the sum of these, whatever is dead."""

    drain_seconds: Annotated[float, Field(ge=0)] = 15.0
    """For the batches under way to settle."""
    commit_seconds: Annotated[float, Field(ge=0)] = 3.0
    """For their last commit to be acknowledged."""
    close_seconds: Annotated[float, Field(ge=0)] = 5.0
    """For the clients to say goodbye."""


class Settings(Section):
    """Everything that can be set, on one page."""

    kafka: KafkaSettings
    registry: RegistrySettings = RegistrySettings()
    reading: ReadingSettings = ReadingSettings()
    identity: IdentitySettings = IdentitySettings()
    event: EventSettings
    join: JoinSettings = JoinSettings()
    aep: AepSettings
    routes: Annotated[list[RouteSettings], Field(min_length=1)]
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    stop: StopSettings = StopSettings()
