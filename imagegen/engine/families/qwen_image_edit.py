"""Qwen-Image-Edit and Qwen-Image-Edit Plus (2509 and later), which edit a picture as the prompt says.

Text encoder and denoiser look at the start image. Its pipelines bring it to a million pixels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.families.picture_processor import load_picture_processor
from imagegen.engine.families.qwen_image import QwenImage
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import QWEN_IMAGE_EDIT, QWEN_IMAGE_EDIT_PLUS
from imagegen.schema.sizes import Size, scale_size

# Embeddings of shape (rows, tokens, width), and which of the tokens are not padding; None if all are.
PromptRows = tuple[Tensor, Tensor | None]


class QwenImageEdit(QwenImage):
    facts = QWEN_IMAGE_EDIT

    def load_components(self, folder: Path) -> dict[str, object]:
        return {"processor": load_picture_processor(folder / "processor", folder / "tokenizer")}

    def arrange_prompts(self, pipeline: Pipeline, prompts: Sequence[str], arguments: dict[str, Any]) -> dict[str, Any]:
        """Each text is encoded alone, with the picture: the pipelines take one text, for any number of pictures."""
        pipeline.__dict__["encode_prompt"] = encode_each(pipeline.encode_prompt, prompts)
        negative = arguments["negative_prompt"]
        negatives = negative if isinstance(negative, list) else [negative] * len(prompts)
        changes = {"prompt": prompts[0], "negative_prompt": negatives, "num_images_per_prompt": len(prompts)}
        return arguments | changes

    def fit_image(self, image: Image.Image, size: Size) -> Image.Image:
        """Returns the middle of the picture in the shape of `size`, at its own resolution: the pipeline resizes it."""
        scale = min(own / side for own, side in zip(image.size, size, strict=True))
        width, height = scale_size(size, scale)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))


class QwenImageEditPlus(QwenImageEdit):
    facts = QWEN_IMAGE_EDIT_PLUS


def encode_each(encode: Callable[..., Any], prompts: Sequence[str]) -> Callable[..., PromptRows]:
    """Returns an `encode_prompt` that returns a row for each picture, with the same arguments as the pipeline's own.

    A text stands for `prompts`, and a list for itself.
    """

    def encode_rows(*, prompt: str | list[str], num_images_per_prompt: int = 1, **options: Any) -> PromptRows:
        texts = prompts if isinstance(prompt, str) else prompt
        embeds = [encode(prompt=text, num_images_per_prompt=1, **options)[0] for text in texts]
        return stack_rows(embeds)

    return encode_rows


def stack_rows(embeds: Sequence[Tensor]) -> PromptRows:
    """Returns embeddings of shape (1, tokens, width) as one batch, padded with zeros, and what is not padding."""
    lengths = [each.shape[1] for each in embeds]
    padded = [F.pad(each, (0, 0, 0, max(lengths) - each.shape[1])) for each in embeds]
    if len(set(lengths)) == 1:
        return torch.cat(padded), None
    places = torch.arange(max(lengths), device=padded[0].device)
    mask = (places < torch.tensor(lengths, device=places.device).unsqueeze(1)).long()
    return torch.cat(padded), mask
