"""Where writer schemas come from, by the settings."""

from processor.clock import Clock
from processor.codec.folder import SchemaFolder
from processor.codec.registry import RegistrySchemas
from processor.codec.schemas import SchemaSource
from processor.settings import RegistrySettings
from processor.shipped import schemas_folder

__all__ = ["schema_source"]


def schema_source(settings: RegistrySettings, clock: Clock) -> SchemaSource:
    """Return the registry the settings name, or the folder where they name none; SettingsError."""
    folder = SchemaFolder(settings.folder or schemas_folder())
    return folder if settings.url is None else RegistrySchemas(settings, folder, clock)
