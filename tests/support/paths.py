"""The root of the checkout, wherever the tests are started from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
