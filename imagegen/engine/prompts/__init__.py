"""Prompts: weighting, encoding and caching."""
