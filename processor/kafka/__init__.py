"""Everything that uses confluent-kafka: consumer, producer, topic reader, admin, offsets."""
