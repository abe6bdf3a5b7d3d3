"""Characters that no text means to have: the control characters of ASCII."""

__all__ = ["without_controls"]

_CONTROLS = dict.fromkeys((*range(32), 127))


def without_controls(text: str) -> str:
    """Return text without the control characters of ASCII."""
    return text if text.isprintable() else text.translate(_CONTROLS)
