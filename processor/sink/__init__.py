"""The right door: the AEP streaming inlet, its requests, verdicts, tokens and budgets."""

from processor.sink.delivery import Delivery
from processor.sink.sink import Sink

__all__ = ["Delivery", "Sink"]
