"""Models in memory: loading, residency on the device, and memory limits."""
