"""The preprocessors: which there are, what they are for, and their names in AUTOMATIC1111's web UI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from imagegen.media.control_maps.canny import canny
from imagegen.media.control_maps.colors import color, gray, invert, none, tile
from imagegen.media.control_maps.lines import scribble, softedge


@dataclass(frozen=True)
class Preprocessor:
    """`make` returns the control map of an RGB picture, an RGB picture of the same size.

    `summary` is for help texts. `a1111_names` are the modules of the web UI's ControlNet extension that do the same.
    """

    make: Callable[[Image.Image], Image.Image]
    summary: str
    a1111_names: tuple[str, ...] = ()


PREPROCESSORS = {
    "none": Preprocessor(none, "the picture is a control map already", ("none",)),
    "canny": Preprocessor(canny, "thin white lines at the edges, on black", ("canny",)),
    "softedge": Preprocessor(softedge, "soft white lines at the edges, on black"),
    "scribble": Preprocessor(scribble, "thick white lines at dark lines, on black", ("scribble_xdog",)),
    "gray": Preprocessor(gray, "brightness without colours"),
    "tile": Preprocessor(tile, "the picture without its details, eight times smaller", ("tile_resample",)),
    "color": Preprocessor(color, "a grid of mean colours", ("t2ia_color_grid", "color")),
    "invert": Preprocessor(
        invert,
        "the negative: black lines on white become white on black",
        ("invert (from white bg & black line)", "invert"),
    ),
}
