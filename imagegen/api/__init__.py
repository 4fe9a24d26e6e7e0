"""The APIs for programs. Each folder is a door: an adapter around the service."""
