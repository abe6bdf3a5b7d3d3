"""Which Kafka client this is."""

import confluent_kafka

__all__ = ["librdkafka_version"]


def librdkafka_version() -> str:
    """Return the version of the C library that speaks to Kafka."""
    version, _ = confluent_kafka.libversion()
    return str(version)
