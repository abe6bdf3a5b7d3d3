"""The folder of the schemas that ship with the processor."""

from pathlib import Path


def schemas_folder() -> Path:
    """Return `schemas/`: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"
