"""Draws the pictures that the embedded model and its judge are trained on."""
