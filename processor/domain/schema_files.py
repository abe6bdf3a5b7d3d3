"""Where the files that ship with the processor are: `schemas/`, beside the package or inside it."""

from pathlib import Path


def schemas_folder() -> Path:
    """Return the `schemas/` folder: inside an installed package, else beside a checkout's."""
    package = Path(__file__).parents[1]
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"
