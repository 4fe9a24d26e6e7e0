"""Trains the embedded model: drawings, captions, training and scoring. See README.md in this folder."""
