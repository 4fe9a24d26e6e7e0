"""Pictures that our own code draws: what the embedded model learns from, and what its judge learns from."""

from training.drawing.picture import draw
from training.drawing.sampling import sample
from training.drawing.vocabulary import Backdrop, Picture, Scene, Thing

__all__ = ["Backdrop", "Picture", "Scene", "Thing", "draw", "sample"]
