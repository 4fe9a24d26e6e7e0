"""The preprocessors: which there are, what they are for, and their names in AUTOMATIC1111's web UI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageOps

from imagegen.media.control_maps.canny import canny
from imagegen.media.control_maps.colors import color, gray, invert, none, tile
from imagegen.media.control_maps.lines import scribble, softedge
from imagegen.schema.controls import Preprocessor as PreprocessorName
from imagegen.schema.sizes import Size


@dataclass(frozen=True)
class Preprocessor:
    """`make` returns the control map of an RGB picture, an RGB picture of the same size; None if a network does.

    `summary` is for help texts. `a1111_names` are the modules of the web UI's ControlNet extension that do the same.
    """

    make: Callable[[Image.Image], Image.Image] | None
    summary: str
    a1111_names: tuple[str, ...] = ()


def fit_picture(picture: Image.Image, size: Size) -> Image.Image:
    """Returns a picture cropped to the proportions of the one that follows it, and in its size."""
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


PREPROCESSORS: Mapping[PreprocessorName, Preprocessor] = {
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
    "depth": Preprocessor(
        None,
        "what is near is light, by a network",
        ("depth_anything", "depth_anything_v2", "depth_midas", "depth_leres", "depth_leres++", "depth_zoe"),
    ),
    "segmentation": Preprocessor(
        None,
        "a colour for each kind of thing, as in ADE20K, by a network",
        ("seg_ofade20k", "seg_ufade20k"),
    ),
    "pose": Preprocessor(None, "the joints and limbs of persons, as OpenPose draws them, by a network", ("openpose",)),
}
