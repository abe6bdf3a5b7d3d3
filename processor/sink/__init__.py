"""The AEP streaming inlet: pack, request, limits, transport, response; one worker per route.

`sink.py` implements `components.Sink`, as a second destination would, and builds a worker per
route. When a request is sent and sent again is the worker's `SendPolicy`; rate, concurrency and
circuit breaker are in `limits.py`; what each status and fault means is the table in `verdict.py`.
"""
