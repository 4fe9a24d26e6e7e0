"""Converts pictures with a colour profile, such as Display P3 or Adobe RGB, to sRGB. Nothing else reads profiles."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Literal

from PIL import Image, ImageCms

# The mode of the result, by that of the picture.
OUTPUT_MODES: Mapping[str, str] = {"L": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
SRGB: Literal["sRGB"] = "sRGB"


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """Returns a picture in sRGB, without a profile. Its alpha channel stays as it is.

    As in browsers, a profile that cannot be read or does not fit the picture counts as sRGB, and so does none.
    """
    content = image.info.pop("icc_profile", None)
    if content is None:
        return image
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "LA":
        colours = apply_profile(image.getchannel("L"), content)
        colours.putalpha(image.getchannel("A"))
        return colours
    return apply_profile(image, content)


def apply_profile(image: Image.Image, content: bytes) -> Image.Image:
    """Returns a picture in sRGB; one whose mode no profile is applied to as it is."""
    mode = OUTPUT_MODES.get(image.mode)
    if mode is None:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(content))
        if SRGB in ImageCms.getProfileDescription(profile):
            return image
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile(SRGB),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    assert converted is not None
    del converted.info["icc_profile"]
    return converted
