"""The settings: their sections, and how they are loaded from a file and the environment."""

from processor.settings.aep import (
    AepSettings,
    AuthSettings,
    LimitSettings,
    RetrySettings,
    RouteSettings,
)
from processor.settings.kafka import (
    DeadLetterSettings,
    InputSettings,
    KafkaSettings,
    RegistrySettings,
)
from processor.settings.score import (
    EventSettings,
    IdentitySettings,
    JoinSettings,
    ReadingSettings,
)
from processor.settings.settings import Settings, StopSettings, TelemetrySettings

__all__ = [
    "AepSettings",
    "AuthSettings",
    "DeadLetterSettings",
    "EventSettings",
    "IdentitySettings",
    "InputSettings",
    "JoinSettings",
    "KafkaSettings",
    "LimitSettings",
    "ReadingSettings",
    "RegistrySettings",
    "RetrySettings",
    "RouteSettings",
    "Settings",
    "StopSettings",
    "TelemetrySettings",
]
