"""The receipts of a job's pictures: everything that decided each picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

import diffusers
import torch
import transformers

from imagegen.engine.job import JobInputs
from imagegen.schema.controls import LEARNED_PREPROCESSORS
from imagegen.schema.receipt import Receipt, UsedControl, UsedEmbedding, UsedLora, UsedReference
from imagegen.schema.request import REQUIRES
from imagegen.schema.seeds import derive_seeds, derive_variation_seeds
from imagegen.schema.sizes import Box, Size
from imagegen.schema.tasks import TASKS
from imagegen.version import VERSION

# Fields whose value in a receipt is not the one in the request.
OVERRIDDEN_RECEIPT_FIELDS = {
    *("prompt", "more_prompts", "seed", "variation_seed", "batch_size", "model", "loras", "embeddings", "controls"),
    "references",
}
# What has no effect without a mask.
MASK_FIELDS = [name for name, requires in REQUIRES.items() if requires.field == "mask_image"]
VERSIONS = {"studio": VERSION} | {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}


def build_receipts(
    inputs: JobInputs,
    device: str,
    dtype: str,
    size: Size,
    unfinished_at_step: int | None = None,
    detail_boxes: Sequence[Sequence[Box]] | None = None,
) -> list[Receipt]:
    """Returns a receipt for each picture of a job. `device` and `dtype` are names, such as "cuda" and "bfloat16".

    `size` is that of the finished pictures, in pixels. `detail_boxes` are the parts of each that were painted again.
    """
    request = inputs.request
    shared = build_shared_fields(inputs) | {
        "device": device,
        "dtype": dtype,
        "final_width": size[0],
        "final_height": size[1],
        "unfinished_at_step": unfinished_at_step,
    }
    if not TASKS[request.task].paints:
        width, height = next(iter(inputs.input_images.values())).size
        own_fields = {"prompt": "", "seed": None, "width": width, "height": height, "requested": inputs.requested}
        return [Receipt(**shared | own_fields)]
    seeds = zip(derive_seeds(request), derive_variation_seeds(request), strict=True)
    boxes = [None] * len(request.prompts) if detail_boxes is None else map(tuple, detail_boxes)
    count, requested = len(request.prompts), inputs.requested
    return [
        Receipt(
            prompt=prompt,
            seed=seed,
            variation_seed=variation_seed,
            detail_boxes=own,
            requested=requested and requested.for_picture(index, count),
            **shared,
        )
        for index, (prompt, (seed, variation_seed), own) in enumerate(zip(request.prompts, seeds, boxes, strict=True))
    ]


def build_shared_fields(inputs: JobInputs) -> dict[str, Any]:
    """Returns the fields of a receipt that are the same for all pictures of a job."""
    loras = {adapter.id: adapter for adapter in inputs.adapters if adapter.kind == "lora"}
    embeddings = [adapter for adapter in inputs.adapters if adapter.kind == "embedding"]
    vae = next((adapter for adapter in inputs.adapters if adapter.kind == "vae"), None)
    detector = next((adapter for adapter in inputs.adapters if adapter.kind == "detector"), None)
    request = inputs.request
    unused = MASK_FIELDS if request.mask_image is None else ()
    return request.model_dump(exclude=OVERRIDDEN_RECEIPT_FIELDS.union(unused)) | {
        **describe_model(inputs),
        **{f"{field}_sha256": upscaler.sha256 for field, upscaler in inputs.upscalers.items()},
        "loras": tuple(
            UsedLora(lora=name, weight=adapter.weight, sha256=adapter.sha256) for name, adapter in loras.items()
        ),
        "embeddings": tuple(UsedEmbedding(embedding=each.id, sha256=each.sha256) for each in embeddings),
        "controls": tuple(build_used_controls(inputs)),
        "references": tuple(build_used_references(inputs)),
        "vae_sha256": vae and vae.sha256,
        "detail_detector_sha256": detector and detector.sha256,
        "versions": VERSIONS,
    }


def build_used_controls(inputs: JobInputs) -> Iterator[UsedControl]:
    """Yields the controls with the checksums of their ControlNets and of the networks that made their maps."""
    controlnets = [adapter for adapter in inputs.adapters if adapter.kind == "controlnet"]
    preprocessors = iter([adapter for adapter in inputs.adapters if adapter.kind == "preprocessor"])
    for use, controlnet in zip(inputs.request.controls, controlnets, strict=True):
        networks = [*islice(preprocessors, LEARNED_PREPROCESSORS.get(use.preprocessor, 0)), None, None]
        network, detector, *_ = networks
        yield UsedControl(
            **dict(use),
            sha256=controlnet.sha256,
            preprocessor_model=network and network.id,
            preprocessor_sha256=network and network.sha256,
            preprocessor_detector_sha256=detector and detector.sha256,
        )


def build_used_references(inputs: JobInputs) -> Iterator[UsedReference]:
    """Yields the reference pictures with the checksums of what the model looked at them through."""
    uses = inputs.request.references
    ip_adapters = [adapter.sha256 for adapter in inputs.adapters if adapter.kind == "ip_adapter"]
    encoders = [adapter.sha256 for adapter in inputs.adapters if adapter.kind == "image_encoder"]
    for use, sha256, encoder in zip_longest(uses, ip_adapters, encoders):
        yield UsedReference(**dict(use), sha256=sha256, image_encoder_sha256=encoder)


def describe_model(inputs: JobInputs) -> dict[str, Any]:
    if inputs.model is None:
        return {"model_id": None}
    return {
        "model_id": inputs.model.id,
        "model_revision": inputs.model.revision,
        "model_sha256": inputs.model_sha256,
        "quantization": inputs.model.quantization,
    }
