"""Pictures on disk: finished ones with their receipts inside, and those that people bring to start from."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from imagegen.errors import InvalidRequest
from imagegen.png import encoded
from imagegen.schema import Picture, Receipt

Format = Literal["png", "jpeg", "webp"]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# What Pillow raises for a picture that is none, or not a whole one.
BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error)
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 16_800_000
MIN_SIDE = 8


class ImageStore:
    """Everything lies under one folder: `pictures/` and `inputs/`."""

    def __init__(self, folder: Path) -> None:
        self.pictures, self.inputs = folder / "pictures", folder / "inputs"
        for part in (self.pictures, self.inputs):
            part.mkdir(parents=True, exist_ok=True)

    def path(self, picture_id: str) -> Path:
        return self.pictures / f"{picture_id}.png"

    def input_path(self, image_id: str) -> Path:
        return self.inputs / f"{image_id}.png"

    def write(self, image: Image.Image, receipt: Receipt) -> Picture:
        """Stores a finished picture, with its receipt in the file, once and whole."""
        picture = Picture(id=secrets.token_hex(16), receipt=receipt)
        write_whole(self.path(picture.id), encoded(image, png_info(receipt)))
        return picture

    def add_input(self, source: Path | bytes) -> str:
        """Stores a picture to start from, named by what it shows. Raises InvalidRequest when it is none."""
        image = opened(source)
        image_id = hashlib.sha256(image.tobytes() + repr(image.size).encode()).hexdigest()
        if not self.input_path(image_id).exists():
            write_whole(self.input_path(image_id), encoded(image))
        return image_id


def write_whole(file: Path, content: bytes) -> None:
    """Nobody sees half of it, and nothing is left of it when that fails."""
    partial = file.with_name(f"{secrets.token_hex(8)}.partial")
    try:
        partial.write_bytes(content)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def opened(source: Path | bytes) -> Image.Image:
    """Any picture as upright 8-bit RGB: its first frame, transparency over white. Raises InvalidRequest."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > MAX_BYTES:
            raise InvalidRequest("init_image", f"must be at most {MAX_BYTES // 2**20} MB")
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            check_size(image)
            return rgb(ImageOps.exif_transpose(image))
    except TOO_LARGE:
        raise too_many_pixels() from None
    except BROKEN:
        raise InvalidRequest("init_image", f"must be a whole picture in one of {', '.join(FORMATS)}") from None


def check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise too_many_pixels()
    if min(width, height) < MIN_SIDE:
        raise InvalidRequest("init_image", f"must be at least {MIN_SIDE} pixels wide and high")


def too_many_pixels() -> InvalidRequest:
    return InvalidRequest("init_image", f"must have at most {MAX_PIXELS / 1e6:.1f} million pixels")


def rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or of floats as 8 bits; Pillow alone would cut off everything above 255."""
    grey = image.convert("F")
    brightest = float(np.asarray(grey).max())
    white = 65535.0 if image.mode.startswith("I;16") or brightest > 255 else 255.0 if brightest > 1 else 1.0
    return grey.point(lambda value: value * (255 / white) + 0).convert("L")


def converted(file: Path, to: Format, quality: int = 90) -> bytes:
    """A finished picture in another format, with its settings in Exif's UserComment. PNG is the file as it is."""
    if to == "png":
        return file.read_bytes()
    buffer = BytesIO()
    with Image.open(file) as image:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = user_comment(str(image.info["parameters"]))
        image.save(buffer, format=to.upper(), quality=quality, exif=exif)
    return buffer.getvalue()


def user_comment(text: str) -> bytes:
    """As Exif has it: 8 bytes that name the encoding, then the text."""
    return b"UNICODE\0" + text.encode("utf-16-be")


def png_info(receipt: Receipt) -> PngInfo:
    info = PngInfo()
    info.add_itxt("parameters", parameters_text(receipt))
    info.add_itxt("receipt", json.dumps(receipt.model_dump(), ensure_ascii=False))
    return info


def parameters_text(receipt: Receipt) -> str:
    """The settings in the form that AUTOMATIC1111's web UI writes and many tools read."""
    facts = {
        "Steps": receipt.steps,
        "Sampler": receipt.sampler,
        "CFG scale": f"{receipt.guidance_scale:g}",
        "Seed": receipt.seed,
        "Size": f"{receipt.width}x{receipt.height}",
        "Model": receipt.model_id,
        "RNG": "CPU",
    }
    if receipt.strength is not None:
        facts["Denoising strength"] = f"{receipt.strength:g}"
    if receipt.clip_skip:
        facts["Clip skip"] = receipt.clip_skip + 1
    if receipt.step_cache:
        facts["Step cache"] = f"{receipt.step_cache:g}"
    if receipt.loras:
        hashes = ", ".join(f"{used.lora}: {used.sha256[:12]}" for used in receipt.loras)
        facts["Lora hashes"] = f'"{hashes}"'
    worn = "".join(f" <lora:{used.lora}:{used.weight:g}>" for used in receipt.loras)
    lines = [receipt.prompt + worn]
    if receipt.negative_prompt:
        lines.append(f"Negative prompt: {receipt.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in facts.items())])
