"""Picture files on disk: finished pictures with their receipts inside, and input pictures."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from PIL import Image

from imagegen.errors import UnknownPicture
from imagegen.media.inputs import load_input_image
from imagegen.media.metadata.png_text import build_png_info
from imagegen.media.outputs import ImageFormat, convert_picture
from imagegen.media.png import encode_png
from imagegen.media.row_blocks import crop_rows
from imagegen.media.thumbnails import make_thumbnail
from imagegen.schema.input_images import get_image_mode
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.sizes import Size

# Rows whose pixels are copied at once.
HASHED_ROWS = 64


class ImageStore:
    """Stores files in subfolders of `folder`: `pictures/`, `inputs/` and `thumbnails/`, each named by its id."""

    def __init__(self, folder: Path) -> None:
        self.pictures_dir, self.inputs_dir = folder / "pictures", folder / "inputs"
        self.thumbnails_dir = folder / "thumbnails"
        for subfolder in (self.pictures_dir, self.inputs_dir, self.thumbnails_dir):
            subfolder.mkdir(parents=True, exist_ok=True)

    def picture_path(self, picture_id: str) -> Path:
        return self.pictures_dir / f"{picture_id}.png"

    def thumbnail_path(self, picture_id: str) -> Path:
        return self.thumbnails_dir / f"{picture_id}.webp"

    def input_path(self, image_id: str) -> Path:
        return self.inputs_dir / f"{image_id}.png"

    def read_picture(self, picture_id: str, file_format: ImageFormat = "png", quality: int = 90) -> bytes:
        """Returns a finished picture as a file; see convert_picture. Raises UnknownPicture if it was deleted."""
        try:
            return convert_picture(self.picture_path(picture_id), file_format, quality)
        except FileNotFoundError:
            raise UnknownPicture(picture_id) from None

    def get_thumbnail(self, picture_id: str) -> Path:
        """Returns the file with the thumbnail of a picture, and makes it first if it is not there.

        Raises UnknownPicture.
        """
        file = self.thumbnail_path(picture_id)
        if not file.exists():
            try:
                write_atomically(file, make_thumbnail(self.picture_path(picture_id)))
            except FileNotFoundError:
                raise UnknownPicture(picture_id) from None
            if not self.picture_path(picture_id).exists():  # It was deleted meanwhile.
                file.unlink(missing_ok=True)
                raise UnknownPicture(picture_id)
        return file

    def delete_picture(self, picture_id: str) -> None:
        """Deletes the file of a picture and its thumbnail, if they are there. Raises OSError."""
        for file in (self.picture_path(picture_id), self.thumbnail_path(picture_id)):
            file.unlink(missing_ok=True)

    def write_picture(self, image: Image.Image, receipt: Receipt) -> Picture:
        """Stores a finished RGB or RGBA picture with its receipt in the file, and returns its id with the receipt.

        Raises OSError.
        """
        content = encode_png(image, build_png_info(receipt))
        picture = Picture(id=secrets.token_hex(16), receipt=receipt, size_bytes=len(content))
        write_atomically(self.picture_path(picture.id), content)
        return picture

    def add_input(self, source: Path | bytes, field: str) -> str:
        """Stores a picture for a field of the request, and returns its id: the SHA-256 of its pixels and its size.

        Raises InvalidRequest for the field if it is no picture that can be used.
        """
        return self.write_input(load_input_image(source, field, get_image_mode(field)))

    def write_input(self, image: Image.Image) -> str:
        """Stores a picture that can be used as it is, such as a control map, and returns its id as `add_input` does."""
        image_id = hash_pixels(image)
        file = self.input_path(image_id)
        if file.exists():
            file.touch()  # It was used now.
        else:
            write_atomically(file, encode_png(image))
        return image_id

    def list_inputs(self, used_before: float) -> list[str]:
        """Returns the ids of input pictures that were last stored before a time in seconds since 1970."""
        return [file.stem for file in self.inputs_dir.glob("*.png") if file.stat().st_mtime < used_before]

    def list_input_sizes(self) -> dict[str, int]:
        """Returns the size of each file of an input picture in bytes, by its id."""
        with os.scandir(self.inputs_dir) as entries:
            return {entry.name.removesuffix(".png"): entry.stat().st_size for entry in entries}

    def delete_input(self, image_id: str) -> None:
        """Deletes the file of an input picture, if it is there. Raises OSError."""
        self.input_path(image_id).unlink(missing_ok=True)

    def get_input_size(self, image_id: str) -> Size:
        """Returns width and height of an input picture in pixels. Raises OSError if it is not on disk."""
        with Image.open(self.input_path(image_id)) as image:
            return image.size

    def load_input(self, image_id: str) -> Image.Image:
        """Returns an input picture in the mode in which it is stored. Raises OSError if it is not on disk."""
        with Image.open(self.input_path(image_id)) as image:
            return image.copy()


def hash_pixels(image: Image.Image) -> str:
    """Returns the SHA-256 of the pixels, row by row, and of the size."""
    digest = hashlib.sha256()
    for block in crop_rows(image, HASHED_ROWS):
        digest.update(block.tobytes())
    digest.update(repr(image.size).encode())
    return digest.hexdigest()


def write_atomically(file: Path, content: bytes) -> None:
    """Writes a whole file or, on an error, none. Raises OSError."""
    partial = file.with_name(f"{secrets.token_hex(8)}.partial")
    try:
        partial.write_bytes(content)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
