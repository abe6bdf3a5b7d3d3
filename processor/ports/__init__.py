"""The doors as the spine sees them: what each may be asked, and what it promises.

Every one is met by a real door and by a small fake in `tests/support/`, under one contract suite.
None of these calls blocks for longer than its seconds; an outage shows as `holding`, never as an
exception.
"""

from processor.ports.left import Follows, Polled, Reads, Supplies
from processor.ports.memory import Key, Remembers
from processor.ports.pending import Pending
from processor.ports.right import Buries, Delivers, Delivery, Forwards, Guards

__all__ = [
    "Buries",
    "Delivers",
    "Delivery",
    "Follows",
    "Forwards",
    "Guards",
    "Key",
    "Pending",
    "Polled",
    "Reads",
    "Remembers",
    "Supplies",
]
