"""What the web UI does with finished pictures: enlarging them, and reading what is written in them."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Annotated, Any, Literal

from PIL import Image, ImageOps
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from imagegen.api.a1111.fixed import Only, with_fixed
from imagegen.api.a1111.infotext import parameters, texts
from imagegen.api.a1111.pictures import in_base64
from imagegen.api.pictures import decoded
from imagegen.errors import InvalidRequest, of_field
from imagegen.images import BROKEN, FORMATS, MAX_BYTES, MAX_PIXELS, TOO_LARGE, check_size, opened, too_many_pixels
from imagegen.png import encoded
from imagegen.schema import NUMBER, Message

UpscalerName = Literal["None", "Lanczos", "Nearest"]
FILTERS = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
MOST_PICTURES = 16
MOST_PIXELS = f"{MAX_PIXELS / 1e6:.1f} million pixels"


def between(least: int, most: int) -> AfterValidator:
    def check(value: float) -> float:
        if not least <= value <= most:
            raise ValueError(f"must be between {least} and {most}")
        return value

    return AfterValidator(check)


def limits(least: int, most: int) -> dict[str, Any]:
    return {"minimum": least, "maximum": most}


FACTOR = 1, 8
SIDE = 1, 16_384


class Enlarging(BaseModel):
    """With `resize_mode` 0 by a factor, with 1 to a size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resize_mode: Literal[0, 1] = 0
    upscaling_resize: Annotated[float, between(*FACTOR), NUMBER] = Field(2, json_schema_extra=limits(*FACTOR))
    upscaling_resize_w: Annotated[int, between(*SIDE), NUMBER] = Field(512, json_schema_extra=limits(*SIDE))
    upscaling_resize_h: Annotated[int, between(*SIDE), NUMBER] = Field(512, json_schema_extra=limits(*SIDE))
    upscaling_crop: StrictBool = Field(True, description="Whether to cut off what is over the size.")
    upscaler_1: UpscalerName = Field("None", description='"None" leaves the picture as it is.')


class EnlargingOne(Enlarging):
    image: str = Field(description="In base64 or as a data URI.")


class File(Message):
    data: str = Field(description="In base64 or as a data URI.")
    name: str = ""


class EnlargingSeveral(Enlarging):
    files: tuple[File, ...] = Field(alias="imageList", json_schema_extra={"maxItems": MOST_PICTURES})


NO_FACES = "faces are not restored here"
ONLY = {
    "gfpgan_visibility": Only((0,), NO_FACES),
    "codeformer_visibility": Only((0,), NO_FACES),
    "upscaler_2": Only(("None", ""), "pictures are enlarged in one way here"),
    "extras_upscaler_2_visibility": Only((0,), "pictures are enlarged in one way here"),
    "show_extras_results": Only((True,), "the pictures are the answer"),
}
UNHEARD = {
    "codeformer_weight": "Of codeformer_visibility, which there is not.",
    "upscale_first": "Before faces are restored, which they are not.",
}
EnlargingOneBody = with_fixed("ExtraSingleImage", EnlargingOne, ONLY, UNHEARD)
EnlargingSeveralBody = with_fixed("ExtraBatchImages", EnlargingSeveral, ONLY, UNHEARD)


class Enlarged(Message):
    html_info: str = ""
    image: str = Field(description="A PNG file in base64.")


class SeveralEnlarged(Message):
    html_info: str = ""
    images: list[str] = Field(description="PNG files in base64.")


class PngInfoBody(Message):
    image: str = Field(description="In base64 or as a data URI.")


class PngInfo(Message):
    info: str = Field(description="The settings as they are written in the picture; empty when there are none.")
    items: dict[str, str] = Field(description="All texts in the picture.")
    parameters: dict[str, str] = Field(description="The settings by their names.")


def enlarged(asked: EnlargingOne) -> Enlarged:
    """Raises InvalidRequest."""
    image = picture(asked.image, "image")
    check_pixels([image], asked)
    return Enlarged(image=in_base64(encoded(resized(image, asked))))


def all_enlarged(asked: EnlargingSeveral) -> SeveralEnlarged:
    """Raises InvalidRequest."""
    images: list[Image.Image] = []
    for place, file in enumerate(asked.files):
        images.append(picture(file.data, f"imageList[{place}].data"))
        if len(images) > MOST_PICTURES or pixels(image.size for image in images) > MAX_PIXELS:
            raise InvalidRequest("imageList", f"must have at most {MOST_PICTURES} entries, and {MOST_PIXELS} in all")
    check_pixels(images, asked)
    return SeveralEnlarged(images=[in_base64(encoded(resized(image, asked))) for image in images])


def picture(text: str, field: str) -> Image.Image:
    with of_field(field):
        return opened(decoded(text))


def check_pixels(images: list[Image.Image], asked: Enlarging) -> None:
    """Raises InvalidRequest when the results were too large, one or all together."""
    if pixels(size(image, asked) for image in images) > MAX_PIXELS:
        field = "upscaling_resize_w" if asked.resize_mode else "upscaling_resize"
        raise InvalidRequest(field, f"gives more than {MOST_PIXELS}")


def pixels(sizes: Iterable[tuple[int, int]]) -> int:
    return sum(width * height for width, height in sizes)


def size(image: Image.Image, asked: Enlarging) -> tuple[int, int]:
    if asked.upscaler_1 == "None":
        return image.size
    wanted = asked.upscaling_resize_w, asked.upscaling_resize_h
    if asked.resize_mode == 1 and asked.upscaling_crop:
        return wanted
    factor = asked.upscaling_resize
    if asked.resize_mode == 1:
        factor = max(wanted[0] / image.width, wanted[1] / image.height)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def resized(image: Image.Image, asked: Enlarging) -> Image.Image:
    """What is over at the sides is cut off; when nothing is to be, the size has the picture's own proportion."""
    if asked.upscaler_1 == "None":
        return image
    return ImageOps.fit(image, size(image, asked), FILTERS[asked.upscaler_1])


def png_info(asked: PngInfoBody) -> PngInfo:
    """Raises InvalidRequest."""
    with of_field("image"):
        items = written(decoded(asked.image))
    info = items.get("parameters", "")
    return PngInfo(info=info, items=items, parameters=parameters(info))


def written(content: bytes) -> dict[str, str]:
    """The texts in a picture. Those of a PNG file may come after its pixels. Raises InvalidRequest."""
    if len(content) > MAX_BYTES:
        raise InvalidRequest("image", f"must be at most {MAX_BYTES // 2**20} MB")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            check_size(image)
            image.load()
            return texts(image)
    except InvalidRequest:
        raise
    except TOO_LARGE:
        raise too_many_pixels() from None
    except BROKEN:
        raise InvalidRequest("image", f"must be a whole picture in one of {', '.join(FORMATS)}") from None
