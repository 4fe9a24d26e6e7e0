"""Pictures for the upscaler: drawings, and emoji from packages with free licences, fetched by npm."""

from __future__ import annotations

import importlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.dataset import Pixels, dataset
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

T = TypeVar("T")
RgbaPixels = NDArray[np.uint8]
# Pixels of a side.
DRAWING_SIDE, EMOJI_SIDE = 512, 256
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
# One emoji in so many is for scoring.
HELD_OUT = 20


@dataclass(frozen=True)
class EmojiPackage:
    """A package of npm. `icons` is a file in Iconify's format; without it, the package has pictures."""

    name: str
    version: str
    licence: str
    author: str
    icons: str | None = None

    @property
    def archive(self) -> str:
        """The file name that `npm pack` gives."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


EMOJI_PACKAGES = (
    EmojiPackage("@iconify-json/noto", "1.2.9", "Apache-2.0", "Google", "package/icons.json"),
    EmojiPackage("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT", "Microsoft", "package/icons.json"),
    EmojiPackage("@lobehub/fluent-emoji-3d", "1.1.0", "MIT", "Microsoft"),
)


@dataclass(frozen=True)
class SourcePictures:
    """`drawings`: uint8 of shape (n, side, side, 3). `emoji`: uint8 of shape (n, side, side, 4), with alpha."""

    drawings: Pixels
    emoji: RgbaPixels


def load_source_pictures(recipe: Recipe, machine: Machine) -> SourcePictures:
    """Returns the pictures for training; draws, fetches and renders what is not on disk."""
    drawings = dataset(recipe.work, FIRST_SEED, recipe.upscaler_drawings, DRAWING_SIDE, machine.workers)
    emoji = load_emoji(recipe)
    return SourcePictures(drawings, emoji[np.arange(len(emoji)) % HELD_OUT != 0])


def load_held_out_pictures(recipe: Recipe, machine: Machine, count: int) -> SourcePictures:
    """Returns pictures that are not used in training, `count` of each kind."""
    drawings = dataset(recipe.work, 0, count, DRAWING_SIDE, machine.workers)
    return SourcePictures(drawings, load_emoji(recipe)[::HELD_OUT][:count])


def load_emoji(recipe: Recipe) -> RgbaPixels:
    path = recipe.work / f"emoji-{recipe.upscaler_emoji}-{EMOJI_SIDE}.npy"
    if not path.exists():
        recipe.work.mkdir(parents=True, exist_ok=True)
        per_package = recipe.upscaler_emoji // len(EMOJI_PACKAGES)
        pictures = [
            picture
            for package in EMOJI_PACKAGES
            for picture in read_package(package, recipe.work / "emoji", per_package)
        ]
        # Mixed, so that each part of the list has all kinds.
        order = np.random.default_rng(0).permutation(len(pictures))
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.stack([pictures[place] for place in order]))
        partial.rename(path)
    stored: RgbaPixels = np.load(path, mmap_mode="r")
    return stored


def read_package(package: EmojiPackage, folder: Path, count: int) -> Iterator[RgbaPixels]:
    """Yields about `count` pictures of a package, spread over all of it. Fetches it with npm if it is not there."""
    archive = folder / package.archive
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(  # noqa: S603
            ["npm", "pack", f"{package.name}@{package.version}", "--silent"],  # noqa: S607
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    read = read_svg_icons if package.icons is not None else read_picture_files
    yield from read(package, archive, count)


def read_svg_icons(package: EmojiPackage, archive: Path, count: int) -> Iterator[RgbaPixels]:
    # Only this training needs the package, and no other part of the studio.
    render = importlib.import_module("resvg_py").svg_to_bytes
    assert package.icons is not None
    with tarfile.open(archive) as files:
        member = files.extractfile(package.icons)
        assert member is not None
        icons = json.load(member)
    names = spread(sorted(icons["icons"]), count)
    for name in names:
        icon = icons["icons"][name]
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        svg = f'<svg {NAMESPACES} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        # Rendered larger and reduced, which smooths edges better than the renderer.
        png = render(svg_string=svg, width=2 * EMOJI_SIDE, height=2 * EMOJI_SIDE)
        yield read_rgba(bytes(png))


def read_picture_files(package: EmojiPackage, archive: Path, count: int) -> Iterator[RgbaPixels]:
    with tarfile.open(archive) as files:
        pictures = [member for member in files.getmembers() if member.name.endswith((".png", ".webp"))]
        for picture in spread(sorted(pictures, key=lambda member: member.name), count):
            member = files.extractfile(picture)
            assert member is not None
            yield read_rgba(member.read())


def spread(items: list[T], count: int) -> list[T]:
    step = max(1, len(items) // count)
    return items[::step][:count]


def read_rgba(content: bytes) -> RgbaPixels:
    with Image.open(BytesIO(content)) as image:
        size = EMOJI_SIDE, EMOJI_SIDE
        return np.asarray(image.convert("RGBA").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
