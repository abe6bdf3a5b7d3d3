"""What must outlive a process: the control topic, and the pauses and skips that are kept in it."""
