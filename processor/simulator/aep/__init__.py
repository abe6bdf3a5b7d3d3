"""A simulator of Adobe Experience Platform: tokens, the streaming inlet, catalog, scripted faults.

It responds as Adobe's documentation and OpenAPI say, records everything it accepted, and fails on
request.
"""
