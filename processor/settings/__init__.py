"""The settings: their sections, and how they are loaded from a file and the environment."""

from processor.settings.aep import (
    AepSettings,
    AuthSettings,
    LimitSettings,
    PlannedRoute,
    PredictionSettings,
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
from processor.settings.settings import (
    CommonSettings,
    PlannedSettings,
    Settings,
    StopSettings,
    TelemetrySettings,
)

__all__ = [
    "AepSettings",
    "AuthSettings",
    "CommonSettings",
    "DeadLetterSettings",
    "EventSettings",
    "IdentitySettings",
    "InputSettings",
    "JoinSettings",
    "KafkaSettings",
    "LimitSettings",
    "PlannedRoute",
    "PlannedSettings",
    "PredictionSettings",
    "ReadingSettings",
    "RegistrySettings",
    "RetrySettings",
    "RouteSettings",
    "Settings",
    "StopSettings",
    "TelemetrySettings",
]
