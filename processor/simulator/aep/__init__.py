"""A simulator of Adobe Experience Platform: tokens, the streaming inlet, catalog, scripted faults.

It answers as Adobe's documentation and OpenAPI say, keeps a ledger of everything it accepted, and
misbehaves on request.
"""
