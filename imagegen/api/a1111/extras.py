"""The web UI's extras: make pictures larger. Each picture is a job like any other, with its receipt in the library."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any, Literal

from fastapi import Request
from PIL import Image, ImageOps
from pydantic import AfterValidator, Field, StrictBool

from imagegen.api.a1111.fixed_fields import NO_FACE_RESTORATION, FixedField, create_fields_model
from imagegen.api.a1111.unknown_fields import OpenModel
from imagegen.api.rest.dependencies import wait_for_result
from imagegen.api.studio_fields import rename_error_fields
from imagegen.errors import InvalidRequest, attribute_errors_to
from imagegen.media.base64_images import decode_base64_image, encode_base64
from imagegen.media.inputs import MAX_INPUT_PIXELS
from imagegen.media.png import encode_png
from imagegen.schema.base import FrozenModel, User
from imagegen.schema.field_types import MAX_SCALE, NUMBER_VALIDATOR, PrintableText
from imagegen.schema.sizes import Size, cover_size, scale_size
from imagegen.schema.validation import parse_request
from imagegen.service import Service

MAX_BATCH_PICTURES = 16
MAX_PIXELS_TEXT = f"{MAX_INPUT_PIXELS / 1e6:.1f} million pixels"
# The request's field for the picture.
FIELD = "image"
NO_UPSCALER = "None"


def build_range_validator(minimum: int, maximum: int) -> AfterValidator:
    def check(value: float) -> float:
        if not minimum <= value <= maximum:
            raise ValueError(f"must be between {minimum} and {maximum}")
        return value

    return AfterValidator(check)


def build_range_schema(minimum: int, maximum: int) -> dict[str, Any]:
    return {"minimum": minimum, "maximum": maximum}


FACTOR_RANGE = 1, MAX_SCALE
SIDE_RANGE = 1, 16_384
SHARE_RANGE = 0, 1


class UpscaleFields(OpenModel):
    """With `resize_mode` 0 by a factor, with 1 to a size."""

    resize_mode: Literal[0, 1] = 0
    upscaling_resize: Annotated[float, build_range_validator(*FACTOR_RANGE), NUMBER_VALIDATOR] = Field(
        2, json_schema_extra=build_range_schema(*FACTOR_RANGE)
    )
    upscaling_resize_w: Annotated[int, build_range_validator(*SIDE_RANGE), NUMBER_VALIDATOR] = Field(
        512, json_schema_extra=build_range_schema(*SIDE_RANGE)
    )
    upscaling_resize_h: Annotated[int, build_range_validator(*SIDE_RANGE), NUMBER_VALIDATOR] = Field(
        512, json_schema_extra=build_range_schema(*SIDE_RANGE)
    )
    upscaling_crop: StrictBool = Field(True, description="Whether to crop what exceeds the size.")
    upscaler_1: PrintableText = Field(
        NO_UPSCALER, description='A name from upscalers. "None" leaves the picture as it is.', examples=["Lanczos"]
    )
    upscaler_2: PrintableText | None = Field(NO_UPSCALER, description="A second one, whose picture is mixed in.")
    extras_upscaler_2_visibility: Annotated[float, build_range_validator(*SHARE_RANGE), NUMBER_VALIDATOR] = Field(
        0, json_schema_extra=build_range_schema(*SHARE_RANGE), description="The share of the second one's picture."
    )

    @property
    def second_upscaler(self) -> str | None:
        """The second upscaler if it has an effect."""
        has_effect = self.extras_upscaler_2_visibility > 0 and self.upscaler_2 not in (NO_UPSCALER, "", None)
        return self.upscaler_2 if has_effect else None


class UpscaleImageFields(UpscaleFields):
    image: str = Field(description="In base64 or as a data URI.")


class File(OpenModel):
    data: str = Field(description="In base64 or as a data URI.")
    name: str = ""


class UpscaleBatchFields(UpscaleFields):
    files: tuple[File, ...] = Field(alias="imageList", json_schema_extra={"maxItems": MAX_BATCH_PICTURES})


EXTRAS_FIXED = {
    "gfpgan_visibility": FixedField((0,), NO_FACE_RESTORATION),
    "codeformer_visibility": FixedField((0,), NO_FACE_RESTORATION),
    "show_extras_results": FixedField((True,), "the response always has the pictures"),
}
EXTRAS_IGNORED = {
    "codeformer_weight": "Applies to codeformer_visibility, which is not supported.",
    "upscale_first": "Applies to face restoration, which is not supported.",
}
UpscaleImageBody = create_fields_model("ExtraSingleImage", UpscaleImageFields, EXTRAS_FIXED, EXTRAS_IGNORED)
UpscaleBatchBody = create_fields_model("ExtraBatchImages", UpscaleBatchFields, EXTRAS_FIXED, EXTRAS_IGNORED)


class Enlarged(FrozenModel):
    html_info: str = ""
    image: str = Field(description="A PNG file in base64.")


class SeveralEnlarged(FrozenModel):
    html_info: str = ""
    images: list[str] = Field(description="PNG files in base64.")


@dataclass(frozen=True)
class Extras:
    """The upscaling of one request. A disconnect of its client cancels the job that runs."""

    service: Service
    user: User
    http: Request

    async def upscale_image(self, body: UpscaleImageFields) -> Enlarged:
        """Raises InvalidRequest, and what `wait_for_result` raises."""
        image_id = await self._store(body.image, FIELD)
        return Enlarged(image=await self._upscale(image_id, body))

    async def upscale_batch(self, body: UpscaleBatchFields) -> SeveralEnlarged:
        """Raises InvalidRequest, and what `wait_for_result` raises."""
        image_ids: list[str] = []
        sizes: list[Size] = []
        for index, file in enumerate(body.files):
            image_ids.append(await self._store(file.data, f"imageList[{index}].data"))
            sizes.append(await asyncio.to_thread(self.service.images.get_input_size, image_ids[-1]))
            if len(image_ids) > MAX_BATCH_PICTURES or count_pixels(sizes) > MAX_INPUT_PIXELS:
                raise InvalidRequest(
                    "imageList", f"must have at most {MAX_BATCH_PICTURES} entries, and {MAX_PIXELS_TEXT} in all"
                )
        return SeveralEnlarged(images=[await self._upscale(image_id, body) for image_id in image_ids])

    async def _store(self, text: str, field: str) -> str:
        with attribute_errors_to(field):
            content = await asyncio.to_thread(decode_base64_image, text, field)
            return await self.service.add_input(content, self.user, FIELD)

    async def _upscale(self, image_id: str, body: UpscaleFields) -> str:
        """Returns the picture as a PNG file in base64."""
        images = self.service.images
        size = await asyncio.to_thread(images.get_input_size, image_id)
        target = compute_output_size(size, body)
        if body.upscaler_1 == NO_UPSCALER:
            self.service.count_request(self.user)
            return encode_base64(await asyncio.to_thread(images.input_path(image_id).read_bytes))
        factor = max(target[0] / size[0], target[1] / size[1])
        first = await self._run_job(image_id, body.upscaler_1, factor, body, "upscaler_1")
        second = None
        if body.second_upscaler is not None:
            second = await self._run_job(image_id, body.second_upscaler, factor, body, "upscaler_2")

        def read_combined() -> str:
            second_file = images.read_picture(second) if second is not None else None
            share = body.extras_upscaler_2_visibility
            return encode_base64(combine(images.read_picture(first), target, share, second_file))

        return await asyncio.to_thread(read_combined)

    async def _run_job(self, image_id: str, upscaler: str, factor: float, body: UpscaleFields, field: str) -> str:
        """Returns the id of the picture that an upscaler made larger, at least as large as it was."""
        scale_field = "upscaling_resize_w" if body.resize_mode else "upscaling_resize"
        with rename_error_fields({"upscaler": field, "scale": scale_field}):
            scale = min(max(factor, 1.0), float(MAX_SCALE))
            request = parse_request({FIELD: image_id, "scale": scale, "upscaler": upscaler})
            _, result = await wait_for_result(self.service, request, self.user, self.http)
        return result.pictures[0].id


def combine(first: bytes, target: Size, share: float, second: bytes | None) -> bytes:
    """Returns a PNG file in the size `target`, of which a `share` is the second picture. Both are PNG files.

    A file that has the size and is not mixed stays as it is, with its receipt.
    """
    image = read_png(first)
    if second is not None:
        image = Image.blend(image, read_png(second), share)
    elif image.size == target:
        return first
    return encode_png(ImageOps.fit(image, target, Image.Resampling.LANCZOS))


def read_png(content: bytes) -> Image.Image:
    with Image.open(BytesIO(content), formats=["PNG"]) as image:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")


def count_pixels(sizes: Iterable[Size]) -> int:
    return sum(width * height for width, height in sizes)


def compute_output_size(size: Size, body: UpscaleFields) -> Size:
    """Returns the size of the result for a picture of the given size. Without cropping, it keeps the proportions."""
    target = body.upscaling_resize_w, body.upscaling_resize_h
    if body.upscaler_1 == NO_UPSCALER:
        return size
    if body.resize_mode == 0:
        return scale_size(size, body.upscaling_resize)
    return target if body.upscaling_crop else cover_size(size, target)
