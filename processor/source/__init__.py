"""The input: consumer group assignment, polls, settled offsets, and scores that wait for events."""
