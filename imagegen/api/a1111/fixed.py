"""What the web UI can do and the studio cannot: each field of it may be sent, as long as it changes nothing.

A field is *heard*, and then it is in a class of `requests.py`; or it may have its usual values alone; or it makes no
difference as long as those others have theirs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, WithJsonSchema, create_model


@dataclass(frozen=True)
class Only:
    """These values, or null: with another, the picture would not be the one that was asked for."""

    values: tuple[Any, ...]
    why: str

    def check(self, value: Any) -> Any:
        if value is not None and not any(same(value, usual) for usual in self.values):
            raise ValueError(f"must be {' or '.join(map(json.dumps, self.values)) or 'null'}: {self.why}")
        return value

    @property
    def field(self) -> Any:
        schema = {"enum": [*self.values, None], "description": f"{self.why[:1].upper()}{self.why[1:]}."}
        return Annotated[Any, AfterValidator(self.check), WithJsonSchema(schema)], None


IN_ONE_GO = "pictures are made in one go here"
NO_VARIATION = "there are no variation seeds here"
NO_MASK = "parts of a picture cannot be painted here"
OF_THE_SAMPLER = "the samplers have their own"
NO_SCRIPTS = "there are no scripts here"

DRAWING = {
    "enable_hr": Only((False,), IN_ONE_GO),
    "firstphase_width": Only((0,), IN_ONE_GO),
    "firstphase_height": Only((0,), IN_ONE_GO),
    "firstpass_image": Only((), IN_ONE_GO),
    "refiner_checkpoint": Only(("", "None"), IN_ONE_GO),
    "subseed_strength": Only((0,), NO_VARIATION),
    "seed_resize_from_w": Only((0, -1), NO_VARIATION),
    "seed_resize_from_h": Only((0, -1), NO_VARIATION),
    "restore_faces": Only((False,), "faces are not restored here"),
    "tiling": Only((False,), "pictures do not tile here"),
    "styles": Only(([],), "there are no styles here; write them into the prompt"),
    "eta": Only((1,), OF_THE_SAMPLER),
    "s_churn": Only((0,), OF_THE_SAMPLER),
    "s_noise": Only((1,), OF_THE_SAMPLER),
    "s_min_uncond": Only((0,), OF_THE_SAMPLER),
    "ddim_discretize": Only(("uniform",), OF_THE_SAMPLER),
    "token_merging_ratio": Only((0,), "tokens are not merged here"),
    "disable_extra_networks": Only((False,), "LoRAs in the prompt are always put on"),
    "override_settings_restore_afterwards": Only((True,), "override_settings are for one request; POST options stays"),
    "script_name": Only(("",), NO_SCRIPTS),
    "alwayson_scripts": Only(({},), NO_SCRIPTS),
    "infotext": Only(("",), "settings are read from the other fields"),
}
REPAINTING = DRAWING | {
    "mask": Only((), NO_MASK),
    "latent_mask": Only((), NO_MASK),
    "initial_noise_multiplier": Only((1,), OF_THE_SAMPLER),
}
SETTINGS = {
    "sd_vae": Only(("Automatic", "None", ""), "a model has its own"),
    "samples_format": Only(("png",), "pictures are sent as PNG"),
    "forge_additional_modules": Only(([],), "a model is whole here"),
    "sd_hypernetwork": Only(("None", ""), "there are no hypernetworks here"),
    "randn_source": Only(("CPU",), "a seed gives the same picture on each machine"),
    "eta_noise_seed_delta": Only((0,), OF_THE_SAMPLER),
    "token_merging_ratio": Only((0,), "tokens are not merged here"),
    "face_restoration": Only((False,), "faces are not restored here"),
    "img2img_color_correction": Only((False,), "colours are not corrected here"),
}

OF_ANOTHER_ROUND = "Of a second round, which there is not."
WITHOUT_MASK = "Of a mask, which there is not."
WITHOUT_SAVING = "Pictures are always kept."
OF_THE_CLIENT = "Between a client and its own server."
UNHEARD = {
    **dict.fromkeys(
        (
            "hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y", "hr_checkpoint_name",
            "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt", "hr_additional_modules", "hr_cfg",
            "refiner_switch_at", "token_merging_ratio_hr",
        ),
        OF_ANOTHER_ROUND,
    ),
    **dict.fromkeys(("save_images", "do_not_save_samples", "do_not_save_grid"), WITHOUT_SAVING),
    **dict.fromkeys(("s_tmin", "s_tmax"), "Of s_churn, which there is not."),
    **dict.fromkeys(("url", "auth", "force_task_id"), OF_THE_CLIENT),
    "subseed": "Of subseed_strength, which there is not.",
    "script_args": "Of script_name, which there is not.",
    "do_not_reload_embeddings": "Embeddings need no loading.",
    "comments": "For people.",
}  # fmt: skip
UNHEARD_IN_DRAWING = UNHEARD | {"denoising_strength": OF_ANOTHER_ROUND}
UNHEARD_IN_REPAINTING = UNHEARD | {
    **dict.fromkeys(
        (
            "mask_blur", "mask_blur_x", "mask_blur_y", "mask_round", "inpainting_fill", "inpaint_full_res",
            "inpaint_full_res_padding", "inpainting_mask_invert",
        ),
        WITHOUT_MASK,
    ),
    "image_cfg_scale": "Of models that are told what to change, which there are not.",
    "include_init_images": "They are never sent back.",
}  # fmt: skip


def with_fixed(name: str, heard: type[BaseModel], only: dict[str, Only], unheard: dict[str, str], **more: Any) -> Any:
    """The class of a whole request: what is heard in it, and all else that may be sent."""
    without_effect = {
        field: (Annotated[Any, WithJsonSchema({"description": why})], None) for field, why in unheard.items()
    }
    fields: Any = {field: each.field for field, each in only.items()} | without_effect | more
    return create_model(name, __base__=heard, __doc__=heard.__doc__, **fields)


def same(value: Any, usual: Any) -> bool:
    """As JSON has it, where true is not 1."""
    return bool(value == usual) and isinstance(value, bool) == isinstance(usual, bool)
