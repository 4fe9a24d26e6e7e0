"""The doors for programs, and the gate before all doors. Each door is an adapter around the service."""
