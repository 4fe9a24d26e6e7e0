"""Models under the web UI's names and hashes, and the model that a user has chosen."""

from __future__ import annotations

import re
from typing import Any

from imagegen.errors import InvalidRequest, UnknownModel, attribute_errors_to
from imagegen.media.metadata.infotext import MODEL_HASH_DIGITS
from imagegen.model_manager import ModelManager
from imagegen.schema.models import ModelStatus
from imagegen.schema.validation import parse_request

CHECKPOINT_FIELD = "sd_model_checkpoint"
HASH_PATTERN = re.compile(r"[0-9a-fA-F]{10}|[0-9a-fA-F]{64}")
# The web UI appends the start of the file's checksum to its name.
CHECKSUM_SUFFIX_PATTERN = re.compile(r" \[[0-9a-fA-F]{6,64}\]$")


def list_models_on_disk(model_manager: ModelManager) -> list[ModelStatus]:
    return [status for status in model_manager.list_models() if status.state in ("on disk", "in memory")]


def resolve_model_title(model_manager: ModelManager, title: Any) -> str:
    """Returns the id of a model on disk, from its title, its name, its id, or its hash.

    Raises InvalidRequest, UnknownModel, UnusableModel and NotOnDisk.
    """
    with attribute_errors_to(CHECKPOINT_FIELD):
        reference = parse_request({"prompt": CHECKPOINT_FIELD, "model": title}).model or ""
        reference = CHECKSUM_SUFFIX_PATTERN.sub("", reference)
        try:
            return model_manager.resolve_model(reference)[0].id
        except UnknownModel:
            on_disk = [status.model for status in list_models_on_disk(model_manager)]
            matching_ids = [model.id for model in on_disk if model.name == reference]
            if HASH_PATTERN.fullmatch(reference):
                matching_ids += [model.id for model in on_disk if has_hash(model_manager, model.id, reference)][:1]
            if len(matching_ids) != 1:
                raise
            return matching_ids[0]


def find_model(model_manager: ModelManager, title: Any) -> str | None:
    """Returns the id of a model on disk, from its title, its name, its id, or its hash; None if there is none."""
    try:
        return resolve_model_title(model_manager, title) if isinstance(title, str) and title else None
    except InvalidRequest:
        return None


def has_hash(model_manager: ModelManager, model_id: str, digits: str) -> bool:
    """Returns whether the SHA-256 of a model's weights is known, and is or begins with these digits."""
    sha256 = find_sha256(model_manager, model_id)
    return sha256 is not None and digits.casefold() in (sha256, sha256[:MODEL_HASH_DIGITS])


def find_sha256(model_manager: ModelManager, model_id: str) -> str | None:
    """Returns the SHA-256 of a model's weights, None if it is not known, or if the model cannot be used any more."""
    try:
        return model_manager.find_model_sha256(model_manager.resolve_model(model_id)[1])
    except InvalidRequest:
        return None
