"""repartition."""
