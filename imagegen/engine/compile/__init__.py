"""Faster networks: compilation and CUDA graphs."""
