"""The web UI's fields that the studio does not support. Clients may send them, as long as they change nothing.

Each field of the web UI is one of three: a class of `requests.py` maps it to a field of the studio; or it is fixed and
accepts only the values that change nothing; or it is ignored, because it only refines a fixed field. Fields that the
web UI does not have either are ignored too; `unknown_fields.py` names them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, WithJsonSchema, create_model


@dataclass(frozen=True)
class FixedField:
    """A field that accepts these values and null. Any other value would change the picture, and is refused."""

    values: tuple[Any, ...]
    reason: str

    def check_value(self, value: Any) -> Any:
        """Returns the value, or raises ValueError."""
        if value is not None and not any(is_same_json_value(value, usual) for usual in self.values):
            raise ValueError(f"must be {' or '.join(map(json.dumps, self.values)) or 'null'}: {self.reason}")
        return value

    @property
    def field(self) -> Any:
        """The field's type and default, for `create_model`."""
        schema = {"enum": [*self.values, None], "description": f"{self.reason[:1].upper()}{self.reason[1:]}."}
        return Annotated[Any, AfterValidator(self.check_value), WithJsonSchema(schema)], None


SINGLE_PASS = "a second pass has the picture and the model of the first"  # noqa: S105
NO_SEED_RESIZE = "noise has the size of the picture here"
SET_BY_SAMPLER = "the sampler sets this itself"
USE_ETA = "eta in the request sets it for one picture"
NO_SCRIPTS = "the scripts here are for img2img"
NO_FACE_RESTORATION = "faces are not restored here"
NO_TILING = "pictures do not tile here"
NO_TOKEN_MERGING = "tokens are not merged here"  # noqa: S105
NO_STYLES = "There are no styles here. As in the web UI, unknown ones are ignored."

TXT2IMG_FIXED = {
    "firstphase_width": FixedField((0,), SINGLE_PASS),
    "firstphase_height": FixedField((0,), SINGLE_PASS),
    "firstpass_image": FixedField((), SINGLE_PASS),
    "refiner_checkpoint": FixedField(("", "None"), SINGLE_PASS),
    "seed_resize_from_w": FixedField((0, -1), NO_SEED_RESIZE),
    "seed_resize_from_h": FixedField((0, -1), NO_SEED_RESIZE),
    "restore_faces": FixedField((False,), NO_FACE_RESTORATION),
    "tiling": FixedField((False,), NO_TILING),
    "s_churn": FixedField((0,), SET_BY_SAMPLER),
    "s_noise": FixedField((1,), SET_BY_SAMPLER),
    "s_min_uncond": FixedField((0,), SET_BY_SAMPLER),
    "ddim_discretize": FixedField(("uniform",), SET_BY_SAMPLER),
    "token_merging_ratio": FixedField((0,), NO_TOKEN_MERGING),
    "disable_extra_networks": FixedField((False,), "LoRAs in the prompt are always applied"),
    "override_settings_restore_afterwards": FixedField(
        (True,), "override_settings apply to one request; POST options lasts"
    ),
    "script_name": FixedField(("", "None"), NO_SCRIPTS),
    "infotext": FixedField(("",), "settings are read from the other fields"),
}
IMG2IMG_FIXED = {name: field for name, field in TXT2IMG_FIXED.items() if name != "script_name"} | {
    "enable_hr": FixedField((False,), "only txt2img has a second pass"),
    "latent_mask": FixedField((), "the mask is made of the field mask"),
    "mask_round": FixedField((True,), "latents are painted anew as a whole here"),
    "initial_noise_multiplier": FixedField((1,), SET_BY_SAMPLER),
}
# The settings that change pictures, at the web UI's defaults. Other settings are ignored.
OVERRIDE_SETTINGS_FIXED = {
    "sd_unet": FixedField(("Automatic", "None", ""), "each model uses its own"),
    "sd_vae_encode_method": FixedField(("Full",), "each model uses its own"),
    "sd_vae_decode_method": FixedField(("Full",), "each model uses its own"),
    "forge_additional_modules": FixedField(([],), "a model includes all its modules here"),
    "sd_hypernetwork": FixedField(("None", ""), "there are no hypernetworks here"),
    "randn_source": FixedField(("CPU",), "a seed gives the same picture on each machine"),
    "eta_ancestral": FixedField((1,), USE_ETA),
    "eta_ddim": FixedField((0,), USE_ETA),
    "eta_noise_seed_delta": FixedField((0,), SET_BY_SAMPLER),
    "s_churn": FixedField((0,), SET_BY_SAMPLER),
    "s_noise": FixedField((1,), SET_BY_SAMPLER),
    "s_min_uncond": FixedField((0,), SET_BY_SAMPLER),
    "initial_noise_multiplier": FixedField((1,), SET_BY_SAMPLER),
    "img2img_extra_noise": FixedField((0,), SET_BY_SAMPLER),
    "token_merging_ratio": FixedField((0,), NO_TOKEN_MERGING),
    "token_merging_ratio_img2img": FixedField((0,), NO_TOKEN_MERGING),
    "face_restoration": FixedField((False,), NO_FACE_RESTORATION),
    "tiling": FixedField((False,), NO_TILING),
    "img2img_color_correction": FixedField((False,), "colours are not corrected here"),
}

SECOND_PASS_ONLY = "Applies to a second pass. There, it must be left out."  # noqa: S105
ALWAYS_SAVED = "Pictures are always stored."
CLIENT_ONLY = "Concerns the client and its own server."
IGNORED = {
    **dict.fromkeys(
        (
            "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt",
            "hr_additional_modules", "hr_cfg", "refiner_switch_at", "token_merging_ratio_hr",
        ),
        SECOND_PASS_ONLY,
    ),
    **dict.fromkeys(("save_images", "do_not_save_samples", "do_not_save_grid"), ALWAYS_SAVED),
    **dict.fromkeys(("s_tmin", "s_tmax"), "Applies to s_churn, which is not supported."),
    **dict.fromkeys(("url", "auth", "force_task_id"), CLIENT_ONLY),
    "script_args": "Applies to script_name, which only img2img has.",
    "do_not_reload_embeddings": "Embeddings need no loading.",
    "comments": "A note for people.",
    "styles": NO_STYLES,
}  # fmt: skip
TXT2IMG_IGNORED = IGNORED
IMG2IMG_IGNORED = {name: why for name, why in IGNORED.items() if name != "script_args"} | {
    **dict.fromkeys(
        ("hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y"),
        "Applies to a second pass, which only txt2img has.",
    ),
    "image_cfg_scale": "Applies to instruction-editing models, which are not supported.",
    "include_init_images": "Start images are never sent back.",
}  # fmt: skip


def create_fields_model(
    name: str, mapped: type[BaseModel], fixed: dict[str, FixedField], ignored: dict[str, str], **extra_fields: Any
) -> Any:
    """Returns the model of a whole request: its mapped fields, its fixed fields, and those that it ignores."""
    ignored_fields = {
        field: (Annotated[Any, WithJsonSchema({"description": why})], None) for field, why in ignored.items()
    }
    fields: Any = {field: each.field for field, each in fixed.items()} | ignored_fields | extra_fields
    return create_model(name, __base__=mapped, __doc__=mapped.__doc__, **fields)


def is_same_json_value(value: Any, allowed: Any) -> bool:
    """Compares as JSON does, where true is not 1."""
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)
