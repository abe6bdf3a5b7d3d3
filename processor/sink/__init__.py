"""The AEP streaming inlet: pack, request, limits, transport, response; one worker per route."""

from processor.sink.packing import InletDelivery
from processor.sink.sink import InletSink

__all__ = ["InletDelivery", "InletSink"]
