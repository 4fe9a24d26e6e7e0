"""Hugging Face's Inference API for pictures, at /hf."""
