"""Upscalers: networks and resampling filters that make pictures larger, tile by tile."""
