"""What is remembered of a person: the local store, the changelog topic, the way back."""
