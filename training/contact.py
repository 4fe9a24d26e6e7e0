"""A contact sheet: rows of pictures, each row under its name, each column under its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from PIL import Image, ImageDraw, ImageFont

TOP, LEFT, GAP = 58, 120, 6
LETTER = 6
INK, PAPER = (60, 56, 50), (248, 247, 245)

Row = tuple[str, Sequence[Image.Image]]


def sheet(rows: Sequence[Row], prompts: Sequence[str], side: int) -> Image.Image:
    """Each picture is shown `side` pixels wide and high."""
    canvas = Image.new("RGB", (LEFT + len(prompts) * (side + GAP), TOP + len(rows) * (side + GAP)), PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for column, prompt in enumerate(prompts):
        pen.text((LEFT + column * (side + GAP), 6), fill(prompt, side // LETTER), INK, font)
    for row, (name, images) in enumerate(rows):
        top = TOP + row * (side + GAP)
        pen.text((6, top + side // 2 - 12), fill(name, LEFT // LETTER), INK, font)
        for column, image in enumerate(images):
            shown = image.resize((side, side), Image.Resampling.LANCZOS)
            canvas.paste(shown, (LEFT + column * (side + GAP), top))
    return canvas
