"""What detectors find in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class Detection:
    """An object in a picture: `box` is left, top, right and bottom in pixels, which may be outside of the picture."""

    box: tuple[float, float, float, float]
    label: str


class Detector(Protocol):
    """A network that finds objects."""

    def detect(self, image: Image.Image, confidence: float) -> list[Detection]:
        """Returns what is in an RGB picture with more than this confidence, of 0..1, each object once."""
