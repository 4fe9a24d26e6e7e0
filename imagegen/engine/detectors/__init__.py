"""Detectors, which find objects in pictures."""
