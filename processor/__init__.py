"""Customer AI scores from Kafka, as XDM events, into the datasets behind CJA connections."""
