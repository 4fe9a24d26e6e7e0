"""The studio's own receipts, also of versions with other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen.media.metadata.found import (
    FoundSettings,
    NamedFile,
    get_text,
    is_set,
    list_objects,
    parse_object,
    to_weight,
)
from imagegen.media.metadata.png_text import RECEIPT_KEY
from imagegen.schema.input_images import get_entry_type
from imagegen.schema.receipt import Receipt
from imagegen.schema.request import GenerationRequest

# What is read in a way of its own.
FILES = {"model_id", "model_sha256", "model_revision", "loras", "embeddings", "vae", "vae_sha256"}


def read_studio(texts: Mapping[str, str]) -> FoundSettings | None:
    receipt = parse_object(texts.get(RECEIPT_KEY))
    if not isinstance(receipt.get("prompt"), str) or "versions" not in receipt:
        return None
    versions = receipt.get("versions")
    version = versions.get("studio") if isinstance(versions, dict) else None
    found = FoundSettings("Image Studio", str(version) if version else None)
    for name, field in GenerationRequest.model_fields.items():
        value = select_entry_fields(name, receipt.get(name))
        if name not in FILES and is_set(value) and value != field.default:
            found.add(name, value, name)
    add_files(found, receipt)
    known = {*Receipt.model_fields, *GenerationRequest.model_fields}
    found.add_unknown(receipt, known)
    return found


def select_entry_fields(name: str, value: Any) -> Any:
    """Returns a list with the fields that its entries have in a request, and any other value as it is."""
    entry_type = get_entry_type(name) if isinstance(value, list) else None
    if entry_type is None:
        return value
    return [{key: entry[key] for key in entry_type.model_fields if key in entry} for entry in list_objects(value)]


def add_files(found: FoundSettings, receipt: Mapping[str, Any]) -> None:
    if name := get_text(receipt, "model_id"):
        found.add("model", name, "model", NamedFile(name, get_text(receipt, "model_sha256")))
    for use in list_objects(receipt.get("loras")):
        found.add(
            "loras",
            use,
            "lora",
            NamedFile(get_text(use, "lora"), get_text(use, "sha256"), to_weight(use.get("weight"))),
        )
    for use in list_objects(receipt.get("embeddings")):
        found.add("embeddings", use, "embedding", NamedFile(get_text(use, "embedding"), get_text(use, "sha256")))
    if name := get_text(receipt, "vae"):
        found.add("vae", name, "vae", NamedFile(name, get_text(receipt, "vae_sha256")))
