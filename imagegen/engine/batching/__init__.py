"""Batches calls of several jobs into forward passes."""
