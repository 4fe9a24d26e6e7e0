"""The web UI's png-info and interrogate: both read what a picture says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from imagegen.api.a1111.unknown_fields import OpenModel
from imagegen.errors import NoPromptInPicture
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.metadata.file_texts import read_all_texts
from imagegen.media.metadata.infotext import parse_infotext
from imagegen.media.metadata.png_text import SETTINGS_KEY, read_file_texts
from imagegen.media.metadata.readers.infotext import read_infotext
from imagegen.media.metadata.readers.table import find_settings
from imagegen.schema.base import FrozenModel


class PngInfoBody(OpenModel):
    image: str = Field(description="In base64 or as a data URI.")


class InterrogateBody(PngInfoBody):
    model: Any = Field(None, description="Ignored: no model looks at the picture.")


class Caption(FrozenModel):
    caption: str = Field(description="The prompt that the picture was made from.")


class PngInfo(FrozenModel):
    info: str = Field(description="The settings as they are written in the picture; empty when there are none.")
    items: dict[str, str] = Field(description="All texts in the picture.")
    parameters: dict[str, str] = Field(description="The settings by their names.")


def read_png_info(body: PngInfoBody) -> PngInfo:
    """Raises InvalidRequest."""
    items = read_file_texts(decode_base64_image(body.image, "image"))
    info = items.get(SETTINGS_KEY, "")
    return PngInfo(info=info, items=items, parameters=parse_infotext(info))


def read_caption(body: InterrogateBody) -> Caption:
    """Raises InvalidRequest, and NoPromptInPicture if the picture has no prompt in it."""
    prompt = find_prompt(read_all_texts(decode_base64_image(body.image, "image")))
    if not prompt:
        raise NoPromptInPicture
    return Caption(caption=prompt)


def find_prompt(texts: Mapping[str, str]) -> str:
    """Returns the prompt as the tool wrote it; "" if there is none. Raises InvalidRequest.

    A text without settings is one. The infotext of the studio's own pictures has their LoRAs in the prompt.
    """
    found = read_infotext(texts) or find_settings(texts)
    if found is None:
        return parse_infotext(texts.get(SETTINGS_KEY, "")).get("Prompt", "")
    return next((str(setting.found) for setting in found.settings if setting.kind == "prompt"), "")
