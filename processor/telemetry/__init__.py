"""Telemetry: metrics, logs, health, and the HTTP server for them."""
