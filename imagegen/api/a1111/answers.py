"""What txt2img and img2img answer."""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import Field

from imagegen.api.a1111.fixed import UNHEARD_IN_DRAWING, UNHEARD_IN_REPAINTING
from imagegen.api.a1111.requests import Drawing, Repainting
from imagegen.api.described import TITLE
from imagegen.api.wire import in_base64
from imagegen.images import ImageStore, parameters_text
from imagegen.schema import Message, Receipt, Result

TIMESTAMP = "%Y%m%d%H%M%S"


class Pictures(Message):
    images: list[str] = Field(description="PNG files in base64, with their settings inside.")
    parameters: dict[str, Any] = Field(description="What was asked for, as far as it matters.")
    info: str = Field(description="JSON: seeds, infotexts, and the receipts with all that decided the pictures.")


async def answer(images: ImageStore, asked: Drawing, result: Result) -> Pictures:
    files = [await in_base64(images, picture.id) for picture in result.pictures] if asked.send_images else []
    receipts = [picture.receipt for picture in result.pictures]
    return Pictures(images=files, parameters=parameters(asked), info=json.dumps(info(asked, receipts)))


def parameters(asked: Drawing) -> dict[str, Any]:
    """What was heard and checked; the rest may be anything, such as somebody's password."""
    unheard = UNHEARD_IN_REPAINTING if isinstance(asked, Repainting) else UNHEARD_IN_DRAWING
    return asked.model_dump(exclude_unset=True, exclude={"init_images", *unheard})


def info(asked: Drawing, receipts: list[Receipt]) -> dict[str, Any]:
    first, seeds = receipts[0], [receipt.seed for receipt in receipts]
    return {
        "prompt": asked.prompt,
        "all_prompts": [asked.prompt] * len(receipts),
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [receipt.negative_prompt for receipt in receipts],
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": 0,
        "all_subseeds": [0] * len(receipts),
        "subseed_strength": 0,
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
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "denoising_strength": first.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [parameters_text(receipt) for receipt in receipts],
        "styles": [],
        "job_timestamp": time.strftime(TIMESTAMP),
        "clip_skip": first.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": TITLE,
        "receipts": [receipt.model_dump(mode="json") for receipt in receipts],
    }
