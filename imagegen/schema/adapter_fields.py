"""Checks the adapters that a request names against its model, and writes their own names into the request."""

from __future__ import annotations

from collections.abc import Sequence

from imagegen.errors import InvalidRequest
from imagegen.schema.controls import TYPE_BY_PREPROCESSOR, ControlType, ControlUse
from imagegen.schema.embedding_words import find_used_embeddings
from imagegen.schema.field_types import MAX_LORAS
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterSource, ModelInfo, SourceKind
from imagegen.schema.reference_pictures import ReferencePicture
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.text import truncate


def set_adapter_fields(
    request: GenerationRequest, model: ModelInfo, adapters: Sequence[AdapterSource]
) -> GenerationRequest:
    """Returns the request with the adapters' own names. `adapters` of one kind are in the order of the request.

    Raises InvalidRequest for a LoRA or an embedding that is there twice, for an adapter that does not fit, and for more
    LoRAs than MAX_LORAS.
    """
    fields: dict[str, object] = {
        "controls": name_controls(request.controls, list_kind(adapters, "controlnet"), model),
        "references": name_references(request.references, list_kind(adapters, "ip_adapter"), model),
        "vae": next((name_vae(vae, model) for vae in list_kind(adapters, "vae")), None),
        "detail_detector": next(
            (name_detector(detector, request.detail_label) for detector in list_kind(adapters, "detector")), None
        ),
    }
    loras, embeddings = list_kind(adapters, "lora"), list_kind(adapters, "embedding")
    check_stack("loras", loras, model)
    check_stack("embeddings", embeddings, model)
    if len(loras) > MAX_LORAS:
        raise InvalidRequest(
            "loras",
            f"must have at most {MAX_LORAS - len(model.loras)} entries with the model {model.id},"
            f" which has {len(model.loras)} of its own",
        )
    check_embedding_words(request, embeddings)
    fields["loras"] = tuple(LoraUse(lora=each.id, weight=each.weight) for each in loras)
    fields["embeddings"] = tuple(each.id for each in embeddings)
    return request.model_copy(update=fields)


def list_kind(adapters: Sequence[AdapterSource], kind: SourceKind) -> list[AdapterSource]:
    return [adapter for adapter in adapters if adapter.kind == kind]


def name_controls(
    uses: Sequence[ControlUse], controlnets: Sequence[AdapterSource], model: ModelInfo
) -> tuple[ControlUse, ...]:
    """Returns the controls with the names of their ControlNets, and with their types. Raises InvalidRequest."""
    named = []
    for number, (use, controlnet) in enumerate(zip(uses, controlnets, strict=True)):
        place = f"controls[{number}]"
        check_architecture(f"{place}.controlnet", controlnet, model)
        check_control_mode(f"{place}.mode", use, controlnet)
        control_type = choose_control_type(f"{place}.control_type", use, controlnet)
        named.append(use.model_copy(update={"controlnet": controlnet.id, "control_type": control_type}))
    return tuple(named)


def name_references(
    uses: tuple[ReferencePicture, ...], ip_adapters: Sequence[AdapterSource], model: ModelInfo
) -> tuple[ReferencePicture, ...]:
    """Returns the reference pictures with the names of their IP-Adapters, if they have any. Raises InvalidRequest."""
    if not ip_adapters:
        return uses
    named = []
    for number, (use, ip_adapter) in enumerate(zip(uses, ip_adapters, strict=True)):
        check_architecture(f"references[{number}].ip_adapter", ip_adapter, model)
        named.append(use.model_copy(update={"ip_adapter": ip_adapter.id}))
    return tuple(named)


def name_vae(vae: AdapterSource, model: ModelInfo) -> str:
    """Returns the name of a VAE. Raises InvalidRequest for one whose latents are not those of the model."""
    latents, own = vae.latents, model.latents
    assert latents is not None and own is not None
    if not latents.fits(own):
        raise InvalidRequest(
            "vae",
            f"{truncate(vae.id)} has latents with {latents.channels} channels for {latents.pixels} pixels"
            f" ({latents.architecture}), and the model {model.id} has {own.channels} for {own.pixels}"
            f" ({own.architecture})",
        )
    return vae.id


def name_detector(detector: AdapterSource, label: str) -> str:
    """Returns the name of a detector. Raises InvalidRequest for a label of objects that it does not know."""
    if label and label not in detector.labels:
        known = truncate(", ".join(detector.labels), 300)
        raise InvalidRequest("detail_label", f"must be one of {known} with the detector {truncate(detector.id)}")
    return detector.id


def check_stack(field: str, adapters: Sequence[AdapterSource], model: ModelInfo) -> None:
    """Raises InvalidRequest for a LoRA or an embedding that is there twice, or does not fit the model."""
    names = [adapter.id for adapter in adapters]
    for adapter in adapters:
        if names.count(adapter.id) > 1:
            raise InvalidRequest(field, f"{truncate(adapter.id)} is there twice")
        check_architecture(field, adapter, model)


def check_embedding_words(request: GenerationRequest, embeddings: Sequence[AdapterSource]) -> None:
    """Raises InvalidRequest for an embedding without its word in any prompt: it would have no effect."""
    words = {each.id: each.trigger for each in embeddings}
    used = find_used_embeddings((*request.prompts, request.negative_prompt, request.detail_prompt), words)
    for embedding, (word, *_) in words.items():
        if embedding not in used:
            raise InvalidRequest("embeddings", f"{truncate(embedding)} needs its word {truncate(word)} in a prompt")


def check_architecture(field: str, adapter: AdapterSource, model: ModelInfo) -> None:
    """Raises InvalidRequest for an adapter that was made for another architecture."""
    if adapter.architecture not in (model.architecture, UNKNOWN_ARCHITECTURE):
        raise InvalidRequest(
            field,
            f"{truncate(adapter.id)} was made for {adapter.architecture},"
            f" and the model {model.id} is {model.architecture}",
        )


def check_control_mode(field: str, use: ControlUse, controlnet: AdapterSource) -> None:
    """Raises InvalidRequest for a mode that only ControlNets of another architecture have."""
    if use.mode not in controlnet.control_modes:
        raise InvalidRequest(
            field, f"must be {' or '.join(controlnet.control_modes)} with a ControlNet for {controlnet.architecture}"
        )


def choose_control_type(field: str, use: ControlUse, controlnet: AdapterSource) -> ControlType | None:
    """Returns what the map of a control shows, for a union ControlNet; None for others. Raises InvalidRequest."""
    known = controlnet.control_types
    chosen = use.control_type or TYPE_BY_PREPROCESSOR.get(use.preprocessor)
    if known and chosen not in known:
        raise InvalidRequest(field, f"must be one of {', '.join(known)} with {truncate(controlnet.id)}")
    if use.control_type is not None and not known:
        raise InvalidRequest(field, f"must be left open: {truncate(controlnet.id)} is no union ControlNet")
    return chosen if known else None
