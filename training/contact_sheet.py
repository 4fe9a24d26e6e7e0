"""Contact sheets: a grid of pictures with a name for each row and a prompt for each column."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from PIL import Image, ImageDraw, ImageFont

TOP, LEFT, GAP = 58, 120, 6
LETTER = 6
INK, PAPER = (60, 56, 50), (248, 247, 245)

Row = tuple[str, Sequence[Image.Image]]


def draw_contact_sheet(rows: Sequence[Row], prompts: Sequence[str], side: int) -> Image.Image:
    """Returns the sheet; each picture is `side` pixels wide and high."""
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
