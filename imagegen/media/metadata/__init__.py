"""Metadata in picture files, one file for each format."""
