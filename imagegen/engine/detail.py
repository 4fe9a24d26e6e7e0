"""The detail stage: parts of a picture, such as faces, are painted again, each in the size of a whole picture.

As ADetailer does in AUTOMATIC1111's web UI (https://github.com/Bing-su/adetailer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from imagegen.engine.detectors.detection import Detection
from imagegen.engine.inpainting import InpaintingPlan, cover_latents, find_masked_box, soften
from imagegen.schema.request import GenerationRequest
from imagegen.schema.seeds import count_up, derive_seeds, derive_variation_seeds
from imagegen.schema.sizes import Box, Size

# The most parts of one picture that are painted again; of more, the largest.
MAX_PARTS = 8
# Pixels over which the edge of a part is softened, as of a mask.
BLUR = 4


@dataclass(frozen=True)
class Part:
    """A part of one of a job's pictures. `picture` is its number, and `number` that of the part, both from 0 on."""

    picture: int
    number: int
    box: Box


def list_parts(boxes: Sequence[Sequence[Box]]) -> list[Part]:
    """Returns the parts of all pictures. `boxes` are those of each picture."""
    return [Part(picture, number, box) for picture, own in enumerate(boxes) for number, box in enumerate(own)]


def choose_boxes(detections: Sequence[Detection], label: str, size: Size) -> list[Box]:
    """Returns where to paint a picture of a size again, in reading order. `label` is "" for all detections.

    Raises ValueError and OverflowError for boxes that are no numbers.
    """
    found = [cut_box(each.box, size) for each in detections if label in ("", each.label)]
    boxes = [box for box in dict.fromkeys(found) if box[0] < box[2] and box[1] < box[3]]
    largest = sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))[:MAX_PARTS]
    return sort_for_reading(largest)


def cut_box(box: Sequence[float], size: Size) -> Box:
    """Returns a box in whole pixels of a picture."""
    left, top = (max(0, math.floor(place)) for place in box[:2])
    right, bottom = (min(side, math.ceil(place)) for place, side in zip(box[2:], size, strict=True))
    return left, top, right, bottom


def sort_for_reading(boxes: Sequence[Box]) -> list[Box]:
    """Returns boxes row by row, each from left to right. A row is of boxes whose middle is beside its first box."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box[1]):
        middle = (box[1] + box[3]) / 2
        if rows and middle < rows[-1][0][3]:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row)]


def plan_detail(image: Image.Image, box: Box, request: GenerationRequest, latent_side: int) -> InpaintingPlan:
    """Returns how to paint a part of a picture again.

    It is painted in the size of the first stage, or in that of the picture if it is larger. A latent stands for
    `latent_side` pixels along each side.
    """
    assert request.width is not None and request.height is not None
    hard = Image.new("L", image.size)
    hard.paste(255, box)
    mask = soften(hard, BLUR)
    region = find_masked_box(mask, request.detail_padding)
    is_larger = region[2] - region[0] > request.width or region[3] - region[1] > request.height
    size = request.painted_size if is_larger else (request.width, request.height)
    start = image.resize(size, Image.Resampling.LANCZOS, region)
    enlarged_mask = mask.resize(size, Image.Resampling.BILINEAR, region)
    return InpaintingPlan(image, mask, region, start, cover_latents(enlarged_mask, latent_side))


def build_detail_request(request: GenerationRequest, part: Part, size: Size) -> GenerationRequest:
    """Returns the request to paint a part of a picture in a size.

    The first part has the seed of the picture, and each other one more.
    """
    seed = count_up(derive_seeds(request)[part.picture], part.number + 1)[-1]
    return request.model_copy(
        update={
            "prompt": request.detail_prompt or request.prompts[part.picture],
            "more_prompts": (),
            "batch_size": 1,
            "seed": seed,
            "variation_seed": derive_variation_seeds(request)[part.picture],
            "width": size[0],
            "height": size[1],
            "strength": request.detail_strength,
        }
    )
