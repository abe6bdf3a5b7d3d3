"""The control APIs of AEP and CJA: what surrounds the stream, and never runs inside it."""
