"""Which controls of a form the selected model hides, and their choices and limits."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagegen.languages.translation import mark, translate
from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.schema.input_images import ENTRY_IMAGES
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterInfo, ModelInfo, UpscalerInfo
from imagegen.schema.request import INPUT_IMAGES, NEEDS
from imagegen.schema.validation import supports_field

# The entry of a list in which nothing is chosen.
NO_CHOICE = (mark("Automatic"), "")
# That entry where it leaves something out.
NOTHING = (mark("Nothing"), "")
# Gradio's updates by component.
Updates = dict[Any, Any]


def find_unsupported_fields(model: ModelInfo) -> set[str]:
    """Returns the fields that a form leaves out for this model.

    Input pictures are not among them: a form with one lists only models that can use it, and a request with one that
    the model cannot use is refused.
    """
    return {name for name in NEEDS if name not in INPUT_IMAGES and not supports_field(model, name)}


def build_control_updates(
    model: ModelInfo, loras: list[AdapterInfo], embeddings: list[AdapterInfo]
) -> dict[str, dict[str, Any]]:
    """Returns the updates of the controls for a model, by field; `loras` and `embeddings` are those that fit it."""
    unused = find_unsupported_fields(model)
    optional_fields = NEEDS.keys() - INPUT_IMAGES.keys() - ENTRY_IMAGES.keys()
    updates: dict[str, dict[str, Any]] = {name: {"visible": name not in unused} for name in optional_fields}
    updates["sampler"] = {"choices": list(model.can.samplers)}
    updates["width"] = updates["height"] = {"maximum": model.can.max_side, "step": model.can.multiple}
    for name, adapters in (("loras", loras), ("embeddings", embeddings)):
        choices = [(adapter.name, adapter.id) for adapter in adapters]
        updates[name] = {"choices": choices, "visible": bool(choices) and name not in unused}
    own = ", ".join(use.lora for use in model.loras)
    updates["loras"]["label"] = translate("LoRAs beside {own}", own=own) if own else translate("LoRAs")
    return updates


def build_upscaler_updates(upscalers: list[UpscalerInfo], model: ModelInfo) -> dict[str, dict[str, Any]]:
    """Returns the updates of the controls for upscalers."""
    choices = [(upscaler.name, upscaler.id) for upscaler in upscalers]
    latent = [(LATENT_UPSCALER, LATENT_UPSCALER)] if model.can.latent_upscaling else []
    return {
        "upscaler": {"choices": [NO_CHOICE, *choices]},
        "hires_upscaler": {"choices": [NO_CHOICE, *latent, *choices]},
    }


def build_vae_update(vaes: list[AdapterInfo], model: ModelInfo, is_new_model: bool) -> dict[str, Any]:
    """Returns the update of the control for a VAE; `vaes` are those that fit the model.

    A new model begins with its own. Where there is no other VAE, there is no control.
    """
    choices = [NO_CHOICE, *((vae.name, vae.id) for vae in vaes)]
    visible = bool(vaes) and "vae" not in find_unsupported_fields(model)
    return {"choices": choices, "visible": visible} | ({"value": ""} if is_new_model else {})


def build_detector_update(detectors: list[AdapterInfo]) -> dict[str, Any]:
    """Returns the update of the control for the detector of parts that are painted again."""
    return {"choices": [NOTHING, *((detector.name, detector.id) for detector in detectors)]}


def filter_fitting_adapters(adapters: list[AdapterInfo], model: ModelInfo) -> list[AdapterInfo]:
    return [adapter for adapter in adapters if fits_model(adapter, model)]


def fits_model(adapter: AdapterInfo, model: ModelInfo) -> bool:
    """Returns whether an adapter is for the model: detectors and preprocessors are for all, a VAE for its latents."""
    if adapter.kind in ("detector", "preprocessor"):
        return True
    if adapter.latents is not None:
        return model.latents is not None and adapter.latents.fits(model.latents)
    return adapter.architecture in (model.architecture, UNKNOWN_ARCHITECTURE)


def set_update_value(update: dict[str, Any] | None, value: Any) -> dict[str, Any]:
    return (update or gr.update()) | {"value": value}
