"""The responses of txt2img and img2img."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from imagegen.api.a1111.fixed_fields import IMG2IMG_IGNORED, TXT2IMG_IGNORED
from imagegen.api.a1111.requests import Img2ImgFields, OverrideFields, Txt2ImgFields
from imagegen.api.rest.messages import read_picture_base64
from imagegen.api.rest.openapi import API_TITLE
from imagegen.media.base64_images import encode_base64
from imagegen.media.metadata.infotext import (
    MODEL_HASH_DIGITS,
    build_mask_settings,
    format_a1111_parameters,
    list_hires_settings,
)
from imagegen.media.outputs import ImageFormat, convert_picture
from imagegen.schema.base import FrozenModel
from imagegen.schema.events import Result
from imagegen.schema.receipt import Receipt
from imagegen.storage.files import ImageStore

FILE_FORMATS: Mapping[str, ImageFormat] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
# The web UI's.
DEFAULT_JPEG_QUALITY = 80
TIMESTAMP_FORMAT = "%Y%m%d%H%M%S"


class Done(FrozenModel):
    """The request was carried out; there is no content."""


class Pictures(FrozenModel):
    images: list[str] = Field(
        description="Files in base64, with their settings inside: PNG, or as samples_format in override_settings says."
        " The control maps of ControlNet's units follow."
    )
    parameters: dict[str, Any] = Field(description="The request, without the fields that are ignored.")
    info: str = Field(
        description="JSON: seeds, infotexts, the receipts of the pictures, and the names of `ignored` fields."
    )


async def build_pictures_answer(
    images: ImageStore, body: Txt2ImgFields, result: Result, map_ids: Sequence[str], ignored: Sequence[str]
) -> Pictures:
    """`map_ids` are those of control maps, which follow the pictures; `ignored` are the names of fields of the request
    that had no effect.
    """
    pictures = result.pictures if body.send_images else ()
    files = [await read_picture(images, picture.id, body.override_settings) for picture in pictures]
    files += [await read_map(images, map_id, body.override_settings) for map_id in map_ids]
    receipts = [picture.receipt for picture in result.pictures]
    info = build_info(body, receipts) | {"ignored": ignored}
    return Pictures(images=files, parameters=dump_parameters(body), info=json.dumps(info))


async def read_picture(images: ImageStore, picture_id: str, settings: OverrideFields | None) -> str:
    """Returns a picture in base64, in the format of the settings."""
    return await read_picture_base64(images, picture_id, *choose_format(settings))


async def read_map(images: ImageStore, map_id: str, settings: OverrideFields | None) -> str:
    """Returns a control map in base64, in the format of the settings."""
    return encode_base64(await asyncio.to_thread(convert_picture, images.input_path(map_id), *choose_format(settings)))


def choose_format(settings: OverrideFields | None) -> tuple[ImageFormat, int]:
    """Returns the format of the pictures in an answer, and their quality."""
    file_format = FILE_FORMATS[(settings and settings.samples_format) or "png"]
    return file_format, (settings and settings.jpeg_quality) or DEFAULT_JPEG_QUALITY


def dump_parameters(body: Txt2ImgFields) -> dict[str, Any]:
    """Returns the checked fields of the request. Other fields may hold anything, such as a password."""
    ignored = IMG2IMG_IGNORED if isinstance(body, Img2ImgFields) else TXT2IMG_IGNORED
    excluded = {"init_images", "mask", "model", "alwayson_scripts", *ignored, *(body.model_extra or {})}
    fields = body.model_dump(exclude_unset=True, exclude=excluded)
    if body.override_settings is not None:
        settings = body.override_settings
        fields["override_settings"] = settings.model_dump(exclude_unset=True, exclude={*(settings.model_extra or {})})
    return fields


def get_prompt(body: Txt2ImgFields, receipt: Receipt) -> str:
    """Returns the prompt of a picture as it was sent, and after choices were made in it."""
    is_chosen = receipt.requested is not None and receipt.requested.prompt is not None
    return receipt.prompt if is_chosen else body.prompt or ""


def build_info(body: Txt2ImgFields, receipts: list[Receipt]) -> dict[str, Any]:
    first, seeds = receipts[0], [receipt.seed for receipt in receipts]
    prompts = [get_prompt(body, receipt) for receipt in receipts]
    return {
        "prompt": prompts[0],
        "all_prompts": prompts,
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [receipt.negative_prompt for receipt in receipts],
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.variation_seed or 0,
        "all_subseeds": [receipt.variation_seed or 0 for receipt in receipts],
        "subseed_strength": first.variation_strength,
        "seed_resize_from_w": 0,
        "seed_resize_from_h": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": first.sampler,
        "cfg_scale": first.guidance_scale,
        "steps": first.steps,
        "batch_size": len(receipts),
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.model_id,
        "sd_model_hash": (first.model_sha256 or "")[:MODEL_HASH_DIGITS],
        "sd_vae_name": first.vae,
        "sd_vae_hash": first.vae_sha256 and first.vae_sha256[:MODEL_HASH_DIGITS],
        "denoising_strength": first.hires_strength if first.hires_scale > 1 else first.strength,
        "extra_generation_params": build_mask_settings(first) | list_hires_settings(first),
        "index_of_first_image": 0,
        "infotexts": [format_a1111_parameters(receipt) for receipt in receipts],
        "styles": [],
        "job_timestamp": time.strftime(TIMESTAMP_FORMAT),
        "clip_skip": first.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": API_TITLE,
        "receipts": [receipt.model_dump(mode="json") for receipt in receipts],
    }
