"""HTTP to Adobe: where requests may go, the access token, and one exchange at a time.

The inlets (`sink/`) and the control APIs (`adobe/`) use it; when a request is repeated is theirs.
"""
