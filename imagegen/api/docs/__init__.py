"""The documentation of the APIs, and health checks."""
