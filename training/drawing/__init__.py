"""Pictures that our own code draws: what the embedded model learns from, and what its judge learns from."""

from training.drawing.picture import draw, sample
from training.drawing.vocabulary import Picture, ScenePicture, ShapePicture

__all__ = ["Picture", "ScenePicture", "ShapePicture", "draw", "sample"]
