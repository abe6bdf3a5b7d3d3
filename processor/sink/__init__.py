"""The right door: the AEP streaming inlet, its requests, verdicts, tokens and budgets."""

from processor.sink.delivery import InletDelivery
from processor.sink.sink import InletSink

__all__ = ["InletDelivery", "InletSink"]
