"""One file a command; `cli` names them."""
