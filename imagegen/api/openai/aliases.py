"""Puts a body into the studio's terms: OpenAI's model names mean the default model, and qualities mean steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from imagegen.api.openai.quality import get_steps
from imagegen.api.openai.requests import SIZE_PATTERN, ImageRequest
from imagegen.api.openai.sizes import find_nearest_size
from imagegen.errors import UnknownModel
from imagegen.model_manager import ModelManager
from imagegen.schema.models import Capabilities, ModelInfo, ModelSource
from imagegen.schema.receipt import RequestedAs

ALIAS_PATTERN = re.compile(r"(gpt-image|chatgpt-image|dall-e)-[\w.-]{1,100}")
# OpenAI's API answers these with links, unless base64 is requested.
LINK_MODELS = ("dall-e-2", "dall-e-3")


@dataclass(frozen=True)
class ResolvedBody:
    """A body in the studio's terms, and what it named instead; None if it named no alias."""

    body: ImageRequest
    requested: RequestedAs | None = None


def resolve_body(body: ImageRequest, models: ModelManager, aliases_enabled: bool) -> ResolvedBody:
    """Returns the body with the model of its alias, with a size that the model can make, and the steps of its quality.

    Reads the disk. Raises UnknownModel, UnusableModel and NotOnDisk.
    """
    sent = body.model_dump(include={"model", "steps"})
    name, quality = sent["model"] if isinstance(sent["model"], str) else None, body.quality_level
    if quality is None and not (aliases_enabled and is_openai_name(name)):
        return ResolvedBody(body)
    model, _, is_alias = find_model(name, models, aliases_enabled)
    changes: dict[str, Any] = {}
    if quality is not None and sent["steps"] is None and body.num_inference_steps is None:
        changes["steps"] = get_steps(model.steps, quality)
    if not is_alias:
        return ResolvedBody(body.model_copy(update=changes))
    changes |= {"model": None, "size": fit_size(body.size, model.can)}
    if name in LINK_MODELS and body.response_format is None and not body.stream:
        changes["response_format"] = "url"
    requested = RequestedAs(model=name, size=body.size if changes["size"] != body.size else None)
    return ResolvedBody(body.model_copy(update=changes), requested)


def is_openai_name(name: str | None) -> bool:
    return name is not None and ALIAS_PATTERN.fullmatch(name) is not None


def find_model(name: str | None, models: ModelManager, aliases_enabled: bool) -> tuple[ModelInfo, ModelSource, bool]:
    """Returns the model of a name, and whether the name is an alias. The studio's own model of such a name comes first.

    Raises UnknownModel, UnusableModel and NotOnDisk.
    """
    try:
        return (*models.resolve_model(name), False)
    except UnknownModel:
        if not (aliases_enabled and is_openai_name(name)):
            raise
        return (*models.resolve_model(None), True)


def fit_size(size: str | None, can: Capabilities) -> str | None:
    """Returns the nearest size that the model can make; for what is no size, the text itself."""
    dimensions = SIZE_PATTERN.fullmatch(size or "")
    width, height = map(int, dimensions.groups()) if dimensions is not None else (0, 0)
    if not width or not height:
        return size
    width, height = find_nearest_size(width, height, can)
    return f"{width}x{height}"
