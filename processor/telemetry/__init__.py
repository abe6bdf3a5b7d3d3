"""What SREs see: metrics, logs, health, and the little server."""
